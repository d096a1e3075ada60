"""`igob bench race`: the faults that it finds, and how it reports them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import psutil
import pytest

import bench.race
import infra.cli.bench
from bench.history import Accepted, Operation, Recorder, Refused
from bench.machine import Machine
from bench.race import BookingRequest, Client, Result, Round, log_faults, placeholder_id
from domain.appointments.booking import BookAppointment
from domain.decider import build
from tests.office import AGENDA, ANA, LUIS, appointment, book
from tests.serving import igob

NOWHERE = Machine(cpu="", cores=1, memory_gib=1, load=0, system="", python="", database={})


def told(position: int | None, *, slot: int = 1, name: str = "ficha") -> Operation:
    answer = Accepted(position, {"appointment": appointment(name), "slot": slot}) if position else None
    return Operation(
        number=slot, command=book(ANA, slot, name=name), called=0, returned=1 if answer else None, answer=answer
    )


def logged(first: int, *, slot: int = 1, name: str = "ficha") -> list[tuple[int, str, dict[str, Any]]]:
    """A booking in the log."""
    fields = {"appointment": appointment(name), "slot": slot, "patient": LUIS}
    return [(first, "appointment_booked.v1", fields), (first + 1, "visit_taken.v1", fields)]


def test_a_log_with_the_answered_positions_has_no_faults() -> None:
    assert log_faults(logged(8), [told(9)], before=7) == []
    assert log_faults(logged(8), [told(None)], before=7) == []
    assert log_faults([], [told(None)], before=7) == []


def test_gaps_double_bookings_and_missing_answers_are_reported() -> None:
    (gap,) = log_faults(logged(9), [told(10)], before=7)
    assert gap == "the positions after 7 have gaps: [9, 10]"
    (twice,) = log_faults([*logged(1), *logged(3, name="other")], [told(2), told(4, name="other")], before=0)
    assert twice == f"slot 1 of {AGENDA} was given 2 times"
    (elsewhere,) = log_faults(logged(1), [told(4)], before=0)
    assert "answered at position 4, the log has it at 2" in elsewhere
    (unexplained,) = log_faults([*logged(1), *logged(3, slot=2, name="other")], [told(2)], before=0)
    assert "no request explains" in unexplained


class Scripted(BaseHTTPRequestHandler):
    """Gives its server's `answers`, one after another; with None it closes the connection."""

    answers: ClassVar[list[tuple[int, Any] | None]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.answers.pop(0)
        if answer:
            body = msgspec.json.encode(answer[1])
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Do not log."""


def test_an_unknown_outcome_is_no_answer() -> None:
    def payload(**fields: Any) -> dict[str, Any]:
        return {"data": {"answer": {"appointment": None, "position": None, "errors": []} | fields}}

    ficha = {"id": appointment(), "slot": 1}
    Scripted.answers = [
        None,
        (500, {}),
        (200, {"data": None, "errors": [{"message": "no"}]}),
        (200, payload(errors=[{"code": "unavailable"}])),
        (200, payload(errors=[{"code": "slot_taken"}])),
        (200, payload(appointment=ficha, position="9")),
    ]
    recorder = Recorder()
    with HTTPServer(("127.0.0.1", 0), Scripted) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.server_port}")
        while Scripted.answers:
            bench.race.book(client, recorder, BookingRequest(key="k", agenda=AGENDA, slot=1, patient=ANA))
        client.close()
        server.shutdown()
    history = recorder.history()
    fields = {"appointment": appointment(), "slot": 1}
    assert [one.answer for one in history] == [*[None] * 4, Refused("slot_taken"), Accepted(9, fields)]
    assert history[-1].command.appointment == appointment()


def test_an_unanswered_request_gets_a_placeholder_id() -> None:
    wish = BookingRequest(key="k", agenda=AGENDA, slot=1, patient=ANA)
    other = msgspec.structs.replace(wish, key="l")
    assert placeholder_id(wish) == placeholder_id(wish) != placeholder_id(other)
    command = book(ANA, 1)
    given = {name: getattr(command, name) for name in command.__struct_fields__} | {"appointment": placeholder_id(wish)}
    assert build(BookAppointment, **given).appointment == placeholder_id(wish)  # of the form that is asked for


def result(verdict: str, *faults: str) -> Result:
    one = Round(booked=1, refused={"slot_taken": 1}, unanswered=0, seconds=0.1, verdict=verdict, faults=list(faults))
    return Result(
        measured_at="2027-01-04T12:00:00Z", commit="", machine=NOWHERE, clients=2, slots=1, workers=1,
        accepted=one.accepted, booked=1, refused=one.refused, unanswered=0, p50_ms=1, p99_ms=1, worst_ms=1,
        rounds=[one],
    )  # fmt: skip


@pytest.mark.parametrize(
    "outcome",
    [
        result("rejected", "#1 refused with slot_taken: one client alone accepts it"),
        result("undecided", "not decided in 10 steps"),
        result("accepted", "slot 1 was given 2 times"),
    ],
)
def test_a_failed_check_ends_with_status_1_and_a_reason(
    outcome: Result, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.race, "run", lambda **_: outcome)
    with pytest.raises(SystemExit) as ended:
        infra.cli.bench.race()
    assert ended.value.code == 1
    output = capsys.readouterr().out
    assert "NOT every answer is explained" in output
    for fault in outcome.rounds[0].faults:
        assert fault in output.replace("\n", " ")


def test_an_accepted_run_ends_with_status_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.race, "run", lambda **_: result("accepted"))
    infra.cli.bench.race()
    assert "every answer is explained" in capsys.readouterr().out
    infra.cli.bench.race(json=True)
    assert json.loads(capsys.readouterr().out)["accepted"] is True


@pytest.mark.long
def test_a_race_uses_a_temporary_city(tmp_path: Path) -> None:
    asked = ("--clients", "20", "--slots", "6", "--workers", "2", "--rounds", "2", "--json")
    ran = igob("bench", "race", *asked, TMPDIR=str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = msgspec.json.decode(ran.stdout, type=Result)
    assert found.accepted
    assert (found.booked, found.refused, found.unanswered) == (12, {"slot_taken": 28}, 0)
    assert [one.verdict for one in found.rounds] == ["accepted", "accepted"]
    assert 0 < found.p50_ms <= found.p99_ms <= found.worst_ms
    assert list(tmp_path.iterdir()) == []
    running = psutil.process_iter(["cmdline"])
    assert not [one for one in running if str(tmp_path) in " ".join(one.info["cmdline"] or ())]
