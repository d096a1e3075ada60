"""`igob serve` started twice, and killed in parts. What clients are told meanwhile: test_kills.py."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import psutil
import psycopg
import pytest

from api.contexts import read_models
from bench.login import SECRET
from domain.calendar import local_date
from domain.decider import build
from domain.queues.opening import CloseLine
from infra.log.core import open_core
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.running.settings import Settings
from projections.engine.runner import Status
from tests.city import key
from tests.faults import using
from tests.faults.rig import wait_for
from tests.programs import Piped
from tests.receiving import receiving
from tests.serving import (
    STOP_S,
    Home,
    Serving,
    called,
    environment,
    get,
    gql,
    home,
    igob,
    igob_here,
    postmaster_of,
    serving,
)
from tests.waiting_log import open_line

START_S = 30

REGISTER = """mutation ($n: String!) { registerPerson(input: {idempotencyKey: $n, identity: $n, givenNames: "Ana",
  familyNames: "Mamani", birthDate: "1990-05-17", sex: F}) { person { id } errors { code } } }"""

WEBHOOK = """mutation ($input: RegisterWebhookInput!) { registerWebhook(input: $input) { secret errors { code } } }"""
DELIVERIES = """{ deliveries(webhook: "sms", first: 9) { nodes { kind state attempts history { status } } } }"""


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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home(tmp_path_factory.mktemp("serve") / "city", "--host", "localhost", "--demo") as one:
        yield one


@pytest.fixture
def city(shared: Home) -> City:
    """One that tests share. Who ends its server leaves the start of another one to the next test."""
    server = shared.served()
    return City(shared.folder, server, server.url())


def test_the_server_starts_prints_its_address_and_stops(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    with serving(folder, prepared=False, as_a_shell_does=True) as server:
        url = server.url()
        assert url.startswith("http://127.0.0.1:")
        fresh = {"position": "0", "lagEvents": 0, "lagSeconds": 0.0}
        ready = {"status": "ready", "position": "0", "views": dict.fromkeys(read_models(), fresh)}
        assert get(f"{url}/readyz").json() == ready
        postmaster = postmaster_of(folder)
        assert postmaster is not None
        assert server.stop() == 0
        assert not postmaster.is_running()
        assert "panic" not in server.output
    with serving(folder) as server:
        server.url()
        assert "recover" not in server.output
        begun = time.monotonic()
        # As Ctrl-C in a terminal does, which reaches all of its processes.
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(20) == 0
        assert time.monotonic() - begun < 10
        assert postmaster_of(folder) is None


def test_a_second_server_on_a_folder_fails(city: City) -> None:
    second = igob("serve", "--port", "0", "--data-dir", str(city.folder))
    assert second.returncode == 1
    assert f"held by process {city.server.process.pid} (igob serve)" in second.stderr.replace("\n", " ")
    assert get(f"{city.url}/readyz").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2"])  # noqa: S104
def test_without_a_provider_only_loopback_is_served(tmp_path: Path, host: str) -> None:
    refused = igob_here("serve", "--host", host, "--data-dir", str(tmp_path / "city"))
    assert refused.returncode == 1
    assert "IGOB_OIDC_ISSUER" in refused.stderr
    assert "127.0.0.1, ::1 or localhost" in refused.stderr
    assert not (tmp_path / "city").exists()


def test_the_name_localhost_is_served(city: City) -> None:
    assert city.url.startswith("http://127.0.0.1:")
    assert get(f"{city.url.replace('127.0.0.1', 'localhost')}/readyz").status_code == 200


def test_a_used_port_is_reported_in_a_line(city: City, tmp_path: Path) -> None:
    port = city.url.rpartition(":")[2]
    second = igob("serve", "--port", port, "--data-dir", str(tmp_path / "two"))
    assert second.returncode == 1
    assert "Address already in use" in second.stderr
    assert "Traceback" not in second.stderr


def projectors(server: Serving) -> list[psutil.Process]:
    return called(psutil.Process(server.process.pid).children(), "igob-projector")


def schedulers(server: Serving) -> list[psutil.Process]:
    return called(psutil.Process(server.process.pid).children(), "igob-scheduler")


def pids(server: Serving) -> set[int]:
    """Of the workers, while they come and go."""
    with suppress(psutil.NoSuchProcess):
        return {worker.pid for worker in server.workers()}
    return set()


def test_a_killed_projector_is_restarted(city: City) -> None:
    (first,) = projectors(city.server)
    first.send_signal(signal.SIGKILL)
    wait_for(lambda: projectors(city.server) not in ([], [first]), timeout_s=START_S)
    assert "the projector died; starting it again" in city.server.output
    wait_for(lambda: has_caught_up(city.url), timeout_s=START_S)
    folder = str(city.folder)
    status = igob("projections", "status", "--json", "--data-dir", folder)
    found = msgspec.json.decode(status.stdout, type=list[Status])
    ready = get(f"{city.url}/readyz").json()
    assert [str(one.position) for one in found] == [view["position"] for view in ready["views"].values()]
    assert {one.lag_events for one in found} == {0}
    assert igob("projections", "verify", "--data-dir", folder).returncode == 0
    rebuilt = igob("projections", "rebuild", "availability", "--data-dir", folder)
    assert "generation 2" in rebuilt.stderr


def has_caught_up(url: str) -> bool:
    ready = get(f"{url}/readyz").json()
    return {(view["position"], view["lagEvents"]) for view in ready["views"].values()} == {(ready["position"], 0)}


def test_a_killed_scheduler_is_restarted(city: City) -> None:
    with receiving() as receiver:
        fields = {"idempotencyKey": "k", "webhook": "sms", "name": "SMS", "url": receiver.url, "kinds": ["LINE_CLOSED"]}
        told = gql(city.url, WEBHOOK, input=fields)["data"]["registerWebhook"]
        assert (told["errors"], told["secret"][:6]) == ([], "whsec_")
        (first,) = schedulers(city.server)
        first.send_signal(signal.SIGKILL)
        asyncio.run(close_a_line(city.folder))
        wait_for(lambda: schedulers(city.server) not in ([], [first]), timeout_s=START_S)
        wait_for(lambda: len(receiver.got) == 1, timeout_s=START_S)
        delivered = {"kind": "LINE_CLOSED", "state": "DELIVERED", "attempts": 1, "history": [{"status": 200}]}
        wait_for(lambda: deliveries(city.url) == [delivered], timeout_s=START_S)
    assert "the scheduler died; starting it again" in city.server.output


def deliveries(url: str) -> Any:
    answer = gql(url, DELIVERIES)
    assert "errors" not in answer, answer
    return answer["data"]["deliveries"]["nodes"]


async def close_a_line(folder: Path) -> None:
    """A command of ours beside the server."""
    database = f"postgresql://{APPLICATION}@/igob?host={EmbeddedPostgres(folder).socket}"
    async with open_core(Settings(database_url=database, secret=SECRET)) as core:
        tomorrow = local_date(datetime.now(UTC)) + timedelta(days=1)
        line = await open_line(core, point="calacoto", day=tomorrow)
        await core.committer.submit(build(CloseLine, line=line), key("close"))


def test_killed_workers_and_databases_are_restarted(city: City) -> None:
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


def test_a_stop_does_not_wait_for_other_users_of_the_database(city: City) -> None:
    parts = [*city.server.workers(), *projectors(city.server), *schedulers(city.server)]
    assert len(parts) == 3
    user = Piped(using.MAIN, str(city.folder), SECRET, environment=environment())
    try:
        assert user.stdout.readline() == "uses\n"
        assert city.server.stop() == 0
        assert not any(part.is_running() for part in parts)
        assert postmaster_of(city.folder) is None
    finally:
        user.close()


def test_a_killed_server_leaves_neither_port_nor_processes_behind(city: City, shared: Home) -> None:
    port = int(city.url.rpartition(":")[2])
    workers = city.server.workers()
    parts = [*projectors(city.server), *schedulers(city.server)]
    assert len(parts) == 2
    city.server.process.kill()
    assert psutil.wait_procs(workers + parts, timeout=10)[1] == []
    assert "taking over" in shared.served(port=port).output


def test_a_stop_works_during_a_worker_s_restart(city: City) -> None:
    """The server is the one that took over, if it runs: it stops the database nevertheless."""
    server = city.server
    died = server.output.count("the worker died; starting it again")
    (first,) = server.workers()
    first.kill()
    wait_for(lambda: pids(server) - {first.pid})
    os.kill(max(pids(server) - {first.pid}), signal.SIGKILL)
    wait_for(lambda: server.output.count("the worker died; starting it again") == died + 2)
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < STOP_S / 2
    assert postmaster_of(city.folder) is None


def wait_until_ready(url: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if get(f"{url}/readyz", timeout_s=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("not ready again")


def log_of(folder: Path) -> list[tuple[int, str, dict[str, Any]]]:
    with psycopg.connect(EmbeddedPostgres(folder).conninfo(OWNER)) as connection:
        return connection.execute("SELECT position, event, state FROM la_paz.event_log ORDER BY position").fetchall()
