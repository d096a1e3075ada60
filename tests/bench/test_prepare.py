"""Bookings prepared for wrk can be made, and the token is sent."""

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from bench.login import bearer
from bench.prepare import City, lines, main
from tests.clusters import prepare
from tests.serving import Serving

BOOK = """mutation ($input: BookAppointmentInput!) {
  bookAppointment(input: $input) { appointment { id } errors { code } } }"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    serving = Serving("--data-dir", str(prepare(tmp_path_factory.mktemp("prepare") / "city")), "--demo")
    try:
        yield serving.url()
    finally:
        serving.stop()


def test_each_line_is_a_free_slot_and_a_registered_patient(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IGOB_TOKEN", bearer().removeprefix("Bearer "))
    with closing(City(url)) as city:
        found = [line.split() for line in lines(city, 400)]  # more than a page of agendas has
        assert len(found) == 400
        assert len({(agenda, slot) for agenda, slot, _ in found}) == 400
        assert len({patient for *_, patient in found}) == 400
        for agenda, slot, patient in found[::80]:
            wanted = {"idempotencyKey": patient, "agenda": agenda, "slot": int(slot), "patient": patient}
            assert city.ask(BOOK, input=wanted)["bookAppointment"]["errors"] == []


def test_an_unreachable_city_is_reported_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["prepare", "http://127.0.0.1:1", "3"])
    with pytest.raises(SystemExit, match=r"^bench\.prepare: .*refused"):
        main()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("token", "wanted"), [("abc", "Bearer abc"), ("", None)])
def test_a_token_is_sent_if_there_is_one(monkeypatch: pytest.MonkeyPatch, token: str, wanted: str | None) -> None:
    texts: list[str | None] = []

    class Forbidding(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(self.headers["Authorization"])
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(401)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("IGOB_TOKEN", token)
    with HTTPServer(("127.0.0.1", 0), Forbidding) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with (
                closing(City(f"http://127.0.0.1:{server.server_port}")) as city,
                pytest.raises(httpx.HTTPStatusError, match="401"),
            ):
                city.patient()
        finally:
            server.shutdown()
            thread.join()
    assert texts == [wanted]
