"""mypy's errors in decisions and refusals: wrong examples, each with its message."""

import re
from pathlib import Path

from mypy import api

IMPORTS = """
from datetime import datetime

from domain.appointments import agenda as agendas
from domain.appointments import patient as patients
from domain.appointments.agenda import Agenda
from domain.appointments.booking import BookAppointment, SlotTaken, SlotUnknown
from domain.appointments.cancelling import CancelAppointment
from domain.appointments.patient import Patient
from domain.decider import Decided, Stream, fold
from domain.decision import decides
from domain.queues.line import Line


def reads(command: BookAppointment) -> tuple[Stream[Agenda], Stream[Patient]]:
    return agendas.stream(command.agenda), patients.stream(command.patient)


def its_patient(command: CancelAppointment, agenda: Agenda) -> tuple[Stream[Patient] | None]:
    booked = agenda.appointments.get(command.appointment)
    return (patients.stream(booked.patient) if booked else None,)

"""

# Each a decision that is right but for one place.
EXAMPLES = {
    "right": (
        """
@decides(BookAppointment, reads=reads)
def decide(command: BookAppointment, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided:
    if command.slot in agenda.booked and not patient.visits:
        raise SlotUnknown(path="slot", slot=command.slot, limit=0)
    yield from ()

slots: list[int] = fold(agendas.stream("a"), ()).unbooked
""",
        "",
    ),
    "right, and reads on": (
        """
@decides(CancelAppointment, reads=lambda c: (agendas.stream(c.agenda),), then=its_patient)
def decide(
    command: CancelAppointment, agenda: Agenda, patient: Patient | None = None, *, now: datetime
) -> Decided:
    yield from ()
""",
        "",
    ),
    "a misspelt field of the state": (
        """
@decides(BookAppointment, reads=reads)
def decide(command: BookAppointment, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided:
    agenda.boked
    yield from ()
""",
        '"Agenda" has no attribute "boked"',
    ),
    "a misspelt field of the command": (
        """
@decides(BookAppointment, reads=lambda c: (agendas.stream(c.agnda), patients.stream(c.patient)))
def decide(command: BookAppointment, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided:
    yield from ()
""",
        '"BookAppointment" has no attribute "agnda"',
    ),
    "a wrong state": (
        """
@decides(BookAppointment, reads=reads)
def decide(command: BookAppointment, agenda: Line, patient: Patient, *, now: datetime) -> Decided:
    yield from ()
""",
        r"incompatible type .*expected .*BookAppointment, Agenda, Patient\]",
    ),
    "a missing read": (
        """
@decides(BookAppointment, reads=lambda c: (agendas.stream(c.agenda),))
def decide(command: BookAppointment, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided:
    yield from ()
""",
        r"incompatible type .*expected .*BookAppointment, Agenda\]",
    ),
    "a missing read that depends on what was found": (
        """
@decides(CancelAppointment, reads=lambda c: (agendas.stream(c.agenda),))
def decide(command: CancelAppointment, agenda: Agenda, patient: Patient, *, now: datetime) -> Decided:
    yield from ()
""",
        r"incompatible type .*expected .*CancelAppointment, Agenda\]",
    ),
    "a missing detail of a refusal": (
        """
raise SlotUnknown(path="slot", slot=1)
""",
        'Missing named argument "limit" for "SlotUnknown"',
    ),
    "a misspelt detail of a refusal": (
        """
raise SlotTaken(path="slot", slot=1, alternative=[], alternatives=[])
""",
        'Unexpected keyword argument "alternative" for "SlotTaken"',
    ),
}


def test_mypy_checks_the_states_of_a_decision(tmp_path: Path) -> None:
    files = {}
    for number, (name, (source, _)) in enumerate(EXAMPLES.items()):
        files[name] = tmp_path / f"example_{number}.py"
        files[name].write_text(IMPORTS + source)
    options = ["--strict", "--python-version=3.11", "--no-pretty", f"--cache-dir={tmp_path}", "--config-file="]
    found, went_wrong, _ = api.run([*options, *map(str, files.values())])
    assert not went_wrong
    for name, (_, expected) in EXAMPLES.items():
        errors = [line for line in found.splitlines() if files[name].name in line and ": error: " in line]
        if expected:
            assert re.search(expected, "\n".join(errors)), f"{name}: {errors or found}"
        else:
            assert not errors, f"{name}: {errors}"
