"""Two workers count as one, also when one of them is killed."""

from functools import partial
from pathlib import Path

import psutil
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.rig import wait_for
from tests.faults.test_serve import pids, register
from tests.serving import STOP_S, Serving, get, home

PEOPLE = 40
UNTAKEN = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "IGOB_LOG_REQUESTS": "true"}


def page_of(url: str) -> str:
    """As some worker tells it. Each time another connection, which may be another worker's."""
    return get(f"{url}/metrics").raise_for_status().text


def told(page: str, name: str, **labels: str) -> float:
    """A sample of the page."""
    lines = "\n".join(line for line in page.split("\n") if name in line)  # reading all of it takes long
    (value,) = (
        one.value
        for family in text_string_to_metric_families(f"{lines}\n")
        for one in family.samples
        if (one.name, one.labels) == (name, labels)
    )
    return value


def registered(url: str) -> set[float]:
    """How many registrations are told, by commands and by requests, asked so often that each worker is."""
    asked = range(10)
    return {told(page_of(url), "igob_commands_total", command="RegisterPerson", outcome="accepted") for _ in asked} | {
        told(page_of(url), "igob_requests_total", kind="mutation", field="registerPerson", outcome="ok") for _ in asked
    }


def folder_of(server: Serving) -> Path:
    """Where its workers count: the folder of the file by which the server holds it."""
    files = psutil.Process(server.process.pid).open_files()
    return next(Path(file.path).parent for file in files if file.path.endswith("/server"))


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
    """Also of a server that makes spans which nobody takes: it serves and stops nevertheless."""
    settings = UNTAKEN | {"IGOB_TRACES": "true"}
    with home(tmp_path / "city", "--workers", "2", settings=settings) as city:
        server = city.served()
        url = server.url()
        wait_for(lambda: told(page_of(url), "igob_workers") == 2, poll_s=0.1)
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
            wait_for(lambda: told(page_of(url), "igob_workers") == 2, poll_s=0.1)
            assert registered(url) == {people}
        register(url, PEOPLE, first=people)
        assert registered(url) == {people + PEOPLE}
        assert sorted(path.name for path in folder.glob("gauge_livesum_*")) == [
            "gauge_livesum_0.db",
            "gauge_livesum_1.db",
        ]
        assert told(page_of(url), "igob_read_model_lag_seconds", read_model="availability") < 60
        wait_for(lambda: server.output.count('"registerPerson"') == people + PEOPLE)
        assert server.stop() == 0
    assert not folder.exists()


def test_counts_of_a_killed_server_are_removed(tmp_path: Path) -> None:
    """The address for spans alone, where nobody takes them, does no harm either."""
    settings = UNTAKEN | {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"}  # the other test has the library's own
    with home(tmp_path / "city", settings=settings) as city:
        first = city.served()
        register(first.url(), 3)
        wait_for(lambda: first.output.count('"registerPerson"') == 3)
        folder = folder_of(first)
        first.kill_everything(city.folder)
        again = city.served()
        assert registered(again.url()) == {0}
        assert not folder.exists()
        register(again.url(), 3, first=3)
        wait_for(lambda: again.output.count('"registerPerson"') == 3)
        assert again.stop() == 0
