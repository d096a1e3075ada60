"""`igob serve` started twice, killed in parts and as a whole, and what clients were told afterwards."""

import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from infra.embedded import OWNER, EmbeddedPostgres
from tests.serving import gql, igob, postmaster_of, serving

REGISTER = """mutation ($n: String!) { registerPerson(input: {idempotencyKey: $n, identity: $n, givenNames: "Ana",
  familyNames: "Mamani", birthDate: "1990-05-17", sex: F}) { person { id } errors { code } } }"""
BOOK = """mutation ($key: String!, $agenda: ID!, $slot: Int!, $patient: ID!) { bookAppointment(input:
  {idempotencyKey: $key, agenda: $agenda, slot: $slot, patient: $patient}) {
  appointment { id } position errors { code } } }"""
AGENDAS = '{ agendas(hospital: "la-paz", first: 100) { nodes { id freeSlots } } }'


def register(url: str, people: int, *, first: int = 0) -> list[str]:
    """The ids of so many people, with identity numbers from `first` on."""

    def one(number: int) -> str:
        payload = gql(url, REGISTER, n=str(5_000_000 + number))["data"]["registerPerson"]
        return str(payload["person"]["id"])

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(one, range(first, first + people)))


def test_it_says_its_address_serves_and_stops_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    with serving(folder) as server:
        url = server.url()
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/readyz").json() == {"status": "ready", "position": "0"}
        postmaster = postmaster_of(folder)
        assert postmaster is not None
        assert server.stop() == 0
        assert not postmaster.is_running()
        assert "panic" not in server.output
    with serving(folder) as server:
        server.url()
        assert "recover" not in server.output


def test_ctrl_c_in_a_terminal_reaches_all_of_its_processes_and_ends_it_at_once(tmp_path: Path) -> None:
    with serving(tmp_path / "city") as server:
        server.url()
        begun = time.monotonic()
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(20) == 0
        assert time.monotonic() - begun < 10
        assert postmaster_of(tmp_path / "city") is None


def test_a_second_server_on_the_folder_says_who_holds_it_and_harms_nobody(tmp_path: Path) -> None:
    with serving(tmp_path / "city") as server:
        url = server.url()
        second = igob("serve", "--port", "0", "--data-dir", str(tmp_path / "city"))
        assert second.returncode == 1
        assert f"held by process {server.process.pid} (igob serve)" in second.stderr.replace("\n", " ")
        assert httpx.get(f"{url}/readyz").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2"])  # noqa: S104
def test_without_access_control_it_serves_nobody_but_this_machine(tmp_path: Path, host: str) -> None:
    refused = igob("serve", "--host", host, "--data-dir", str(tmp_path / "city"))
    assert refused.returncode == 1
    assert "IGOB_DEVELOPMENT_ACTOR" in refused.stderr
    assert "127.0.0.1, ::1 or localhost" in refused.stderr
    assert not (tmp_path / "city").exists()


def test_it_serves_by_the_name_localhost(tmp_path: Path) -> None:
    with serving(tmp_path / "city", "--host", "localhost") as server:
        url = server.url()
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url.replace('127.0.0.1', 'localhost')}/readyz").status_code == 200


def test_a_port_that_is_taken_is_said_in_a_line(tmp_path: Path) -> None:
    with serving(tmp_path / "one") as server:
        port = server.url().rpartition(":")[2]
        second = igob("serve", "--port", port, "--data-dir", str(tmp_path / "two"))
    assert second.returncode == 1
    assert "Address already in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_killed_worker_is_replaced_and_a_killed_database_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    with serving(folder) as server:
        url = server.url()
        time.sleep(6)  # Granian takes a worker that dies younger than that for one that can't start
        (worker,) = server.workers()
        worker.kill()
        wait_until_ready(url)
        assert [process.pid for process in server.workers()] != [worker.pid]

        postmaster = postmaster_of(folder)
        assert postmaster is not None
        postmaster.kill()
        wait_until_ready(url)
        assert "starting it again" in server.output
        (ana,) = register(url, 1)
        assert ana


def test_a_killed_server_leaves_neither_port_nor_workers_behind(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    with serving(folder) as server:
        port = int(server.url().rpartition(":")[2])
        workers = server.workers()
        server.process.kill()
        assert psutil.wait_procs(workers, timeout=10)[1] == []
    with serving(folder, port=port) as again:
        again.url()
        assert "taking over" in again.output


def wait_until_ready(url: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("not ready again")


class Bookers:
    """Clients who book each their own slots and remember what they were told."""

    def __init__(self, url: str, patients: list[str], slots: list[tuple[str, int]]) -> None:
        self.url = url
        self.wishes: list[dict[str, Any]] = [
            {"key": f"wish-{n}", "agenda": agenda, "slot": slot, "patient": patients[n % len(patients)]}
            for n, (agenda, slot) in enumerate(slots)
        ]
        self.told: dict[str, dict[str, Any]] = {}
        self.stopped = threading.Event()

    def book(self, wish: dict[str, Any]) -> None:
        if self.stopped.is_set():
            return
        try:
            answer = gql(self.url, BOOK, **wish)
        except httpx.HTTPError:
            return
        if answer.get("data"):
            self.told[wish["key"]] = answer["data"]["bookAppointment"]

    def run(self) -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(self.book, self.wishes))


def log_of(folder: Path) -> list[tuple[int, str, dict[str, Any]]]:
    with psycopg.connect(EmbeddedPostgres(folder).conninfo(OWNER)) as connection:
        return connection.execute("SELECT position, event, state FROM la_paz.event_log ORDER BY position").fetchall()


def kill_in_the_middle(folder: Path, dice: random.Random) -> None:
    """Book under load, kill everything, start again, retry: nothing acknowledged is lost, nothing is there twice."""
    with serving(folder, "--demo") as server:
        url = server.url()
        patients = register(url, 40)
        agendas = gql(url, AGENDAS)["data"]["agendas"]["nodes"]
        slots = [(agenda["id"], slot) for agenda in agendas for slot in range(1, 13)]
        dice.shuffle(slots)
        bookers = Bookers(url, patients, slots)
        load = threading.Thread(target=bookers.run)
        load.start()
        time.sleep(dice.uniform(0.3, 1.2))
        server.kill_everything(folder)
        bookers.stopped.set()
        load.join()
    acknowledged = {key: told for key, told in bookers.told.items() if told["appointment"]}
    assert acknowledged

    with serving(folder) as server:
        bookers.url = server.url()
        assert "recover" in server.output
        kept = {told["appointment"]["id"] for told in acknowledged.values()}
        assert kept <= set(booked_in(log_of(folder)))
        again = Bookers(server.url(), patients, slots)
        for wish in again.wishes[: 2 * len(acknowledged) + 50]:  # also some that were never answered, or never sent
            again.book(wish)
        for key in acknowledged.keys() & again.told.keys():
            assert again.told[key] == acknowledged[key]
        rows = log_of(folder)
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    booked = booked_in(rows)
    assert len(booked) == len(set(booked))
    assert kept <= set(booked)
    assert len([row for row in rows if row[2].get("appointment") in kept]) == 2 * len(kept)


def booked_in(rows: list[tuple[int, str, dict[str, Any]]]) -> list[str]:
    """The appointments booked, in order."""
    return [row[2]["appointment"] for row in rows if row[1] == "appointment_booked.v1"]


def test_killed_in_the_middle_of_commits_it_recovers_and_keeps_its_word(tmp_path: Path) -> None:
    kill_in_the_middle(tmp_path / "city", random.Random(1))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 7))
def test_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    kill_in_the_middle(tmp_path / "city", random.Random(seed))
