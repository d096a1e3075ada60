"""Two workers count as one, also when one of them is killed."""

from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from infra.running.places import FOLDER
from tests.faults.rig import wait_for
from tests.faults.test_serve import pids, register
from tests.serving import STOP_S, Serving, prepare, serving

PEOPLE = 40


def told(url: str, name: str, **labels: str) -> float:
    """A sample as some worker tells it. Each time another connection, which may be another worker's."""
    page = httpx.get(f"{url}/metrics", timeout=20).raise_for_status().text
    (value,) = (
        one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if (one.name, one.labels) == (name, labels)
    )
    return value


def registered(url: str) -> set[float]:
    """How many registrations are told, by commands and by requests, asked so often that each worker is."""
    asked = range(10)
    return {told(url, "igob_commands_total", command="RegisterPerson", outcome="accepted") for _ in asked} | {
        told(url, "igob_requests_total", kind="mutation", field="registerPerson", outcome="ok") for _ in asked
    }


def folder_of(server: Serving) -> Path:
    return Path(server.workers()[0].environ()[FOLDER])


def counted(folder: Path) -> list[float]:
    """How many registrations each place has counted."""
    samples = (
        one
        for path in sorted(folder.glob("counter_*.db"))
        for metric in MultiProcessCollector.merge([str(path)])  # type: ignore[no-untyped-call]
        for one in metric.samples
    )
    wanted = {"command": "RegisterPerson", "outcome": "accepted"}
    return [one.value for one in samples if one.labels == wanted]


def is_replaced(server: Serving, victim: psutil.Process) -> bool:
    return len(pids(server) - {victim.pid}) == 2


def test_counts_add_up_over_workers_and_survive_a_killed_one(tmp_path: Path) -> None:
    with serving(tmp_path / "city", "--workers", "2") as server:
        url = server.url()
        wait_for(lambda: told(url, "igob_workers") == 2)
        folder = folder_of(server)
        people = 0
        while not people or min(counted(folder)) == 0:  # which worker takes a connection is chance
            assert people < 10 * PEOPLE, "one did it all: nothing was added up"
            register(url, PEOPLE, first=people)
            people += PEOPLE
        assert registered(url) == {people}
        assert sum(counted(folder)) == people

        for _ in range(2):  # both of them, one after the other
            before = pids(server)
            victim = psutil.Process(min(before))
            victim.kill()
            victim.wait(STOP_S)
            wait_for(partial(is_replaced, server, victim))
            wait_for(lambda: told(url, "igob_workers") == 2)
            assert registered(url) == {people}
        register(url, PEOPLE, first=people)
        assert registered(url) == {people + PEOPLE}
        assert sorted(path.name for path in folder.glob("gauge_livesum_*")) == [
            "gauge_livesum_0.db",
            "gauge_livesum_1.db",
        ]
        assert told(url, "igob_read_model_lag_seconds", read_model="availability") < 60
    assert not folder.exists()


def test_of_a_killed_server_the_next_one_finds_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "city") as server:
        register(server.url(), 1)
        folder = folder_of(server)
        server.kill_everything(tmp_path / "city")
    with serving(tmp_path / "city") as again:
        assert registered(again.url()) == {0}
        assert not folder.exists()


@pytest.mark.parametrize("wanted", [{"IGOB_TRACES": "true"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}])
def test_it_serves_and_stops_though_nobody_takes_its_spans(tmp_path: Path, wanted: dict[str, str]) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "IGOB_LOG_REQUESTS": "true", **wanted}
    server = Serving("--data-dir", str(prepare(tmp_path / "city")), settings=settings)
    try:
        register(server.url(), 3)
        wait_for(lambda: server.output.count('"registerPerson"') == 3)
    finally:
        assert server.stop() == 0
