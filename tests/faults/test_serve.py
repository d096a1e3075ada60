"""`igob serve` started twice, and killed in parts. What clients are told meanwhile: test_kills.py."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import psycopg
import pytest

from api.contexts import read_models
from infra.postgres.embedded import OWNER, EmbeddedPostgres
from tests.faults.rig import wait_for
from tests.serving import STOP_S, Serving, gql, igob, postmaster_of, serving

REGISTER = """mutation ($n: String!) { registerPerson(input: {idempotencyKey: $n, identity: $n, givenNames: "Ana",
  familyNames: "Mamani", birthDate: "1990-05-17", sex: F}) { person { id } errors { code } } }"""


class City(NamedTuple):
    folder: Path
    server: Serving
    url: str


def register(url: str, people: int, *, first: int = 0) -> list[str]:
    """The ids of so many people, with identity numbers from `first` on."""

    def one(number: int) -> str:
        payload = gql(url, REGISTER, n=str(5_000_000 + number))["data"]["registerPerson"]
        return str(payload["person"]["id"])

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(one, range(first, first + people)))


def test_it_says_its_address_serves_and_stops_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    with serving(folder, prepared=False) as server:
        url = server.url()
        assert url.startswith("http://127.0.0.1:")
        fresh = {"position": "0", "lagEvents": 0, "lagSeconds": 0.0}
        ready = {"status": "ready", "position": "0", "views": dict.fromkeys(read_models(), fresh)}
        assert httpx.get(f"{url}/readyz").json() == ready
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


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """One that tests share who leave it serving."""
    folder = tmp_path_factory.mktemp("serve") / "city"
    with serving(folder, "--host", "localhost") as server:
        yield City(folder, server, server.url())


def test_a_second_server_on_the_folder_says_who_holds_it_and_harms_nobody(city: City) -> None:
    second = igob("serve", "--port", "0", "--data-dir", str(city.folder))
    assert second.returncode == 1
    assert f"held by process {city.server.process.pid} (igob serve)" in second.stderr.replace("\n", " ")
    assert httpx.get(f"{city.url}/readyz").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2"])  # noqa: S104
def test_without_access_control_it_serves_nobody_but_this_machine(tmp_path: Path, host: str) -> None:
    refused = igob("serve", "--host", host, "--data-dir", str(tmp_path / "city"))
    assert refused.returncode == 1
    assert "IGOB_OIDC_ISSUER" in refused.stderr
    assert "127.0.0.1, ::1 or localhost" in refused.stderr
    assert not (tmp_path / "city").exists()


def test_it_serves_by_the_name_localhost(city: City) -> None:
    assert city.url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{city.url.replace('127.0.0.1', 'localhost')}/readyz").status_code == 200


def test_a_port_that_is_taken_is_said_in_a_line(city: City, tmp_path: Path) -> None:
    port = city.url.rpartition(":")[2]
    second = igob("serve", "--port", port, "--data-dir", str(tmp_path / "two"))
    assert second.returncode == 1
    assert "Address already in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_worker_that_is_killed_again_and_again_is_replaced_and_a_killed_database_comes_back(city: City) -> None:
    server, url = city.server, city.url
    killed = set()
    for _ in range(3):
        (worker,) = server.workers()
        worker.kill()
        worker.wait(STOP_S)
        killed.add(worker.pid)
        wait_until_ready(url)
    assert not killed & {worker.pid for worker in server.workers()}
    assert server.output.count("the worker died; starting it again") == 3

    postmaster = postmaster_of(city.folder)
    assert postmaster is not None
    postmaster.kill()
    wait_until_ready(url)
    assert "starting it again" in server.output
    (ana,) = register(url, 1)
    assert ana


def pids(server: Serving) -> set[int]:
    """Of the workers, while they come and go."""
    with suppress(psutil.NoSuchProcess):
        return {worker.pid for worker in server.workers()}
    return set()


def test_a_stop_during_the_restart_of_a_worker_is_obeyed(tmp_path: Path) -> None:
    with serving(tmp_path / "city") as server:
        server.url()
        (first,) = server.workers()
        first.kill()
        wait_for(lambda: pids(server) - {first.pid})
        os.kill(max(pids(server) - {first.pid}), signal.SIGKILL)
        wait_for(lambda: server.output.count("the worker died; starting it again") == 2)
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < STOP_S / 2
        assert postmaster_of(tmp_path / "city") is None


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


def log_of(folder: Path) -> list[tuple[int, str, dict[str, Any]]]:
    with psycopg.connect(EmbeddedPostgres(folder).conninfo(OWNER)) as connection:
        return connection.execute("SELECT position, event, state FROM la_paz.event_log ORDER BY position").fetchall()
