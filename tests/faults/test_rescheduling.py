"""Two processes move appointments at once: whoever comes second keeps the old one."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from domain.appointments import agenda as agendas
from domain.appointments import patient as patients
from domain.appointments.cancelling import CancelAppointment
from domain.decider import Command, build
from domain.errors import Rejected
from infra.log.committer import Committer
from infra.log.core import Core
from tests.city import AGENDA, agenda, booking, hospital, key, moving, opaque
from tests.towns import Town

pytestmark = pytest.mark.anyio

SLOTS = 12
PATIENTS = [f"p{number}" for number in range(2 * SLOTS)]
AFTERNOON = agenda(SLOTS, practitioner="p-02")
TO = AGENDA.replace("p-01", "p-02")
MOVED = ["appointment_cancelled.v2", "visit_given_up.v1", "appointment_booked.v1", "visit_taken.v1"]
BOOKED = [booking(slot, patient) for slot, patient in enumerate(PATIENTS, start=1)]


@pytest.fixture
async def booked(core: Core) -> None:
    """Everybody has an appointment with one practitioner; another one has half as many slots, all free."""
    for wanted in (hospital(), agenda(len(PATIENTS)), AFTERNOON, *BOOKED):
        await core.committer.submit(wanted, key(str(wanted)))


async def at_once(*asked: tuple[Committer, Command]) -> list[Any]:
    answers = await asyncio.gather(
        *(committer.submit(command, key(f"{number} {command}")) for number, (committer, command) in enumerate(asked)),
        return_exceptions=True,
    )
    return [answer.code if isinstance(answer, Rejected) else type(answer).__name__ for answer in answers]


async def visits(core: Core, patient: str) -> list[str]:
    stream = patients.stream(opaque(patient))
    return list((await core.log.load([stream]))[stream].state.visits)


async def in_agendas(core: Core) -> list[str]:
    names = [agendas.stream(name) for name in (AGENDA, TO)]
    loaded = await core.log.load(names)
    return [appointment for name in names for appointment in loaded[name].state.booked.values()]


@pytest.mark.usefixtures("booked")
async def test_of_two_rescheduling_to_one_slot_one_succeeds(core: Core, other_committer: Committer, town: Town) -> None:
    committers = (core.committer, other_committer)
    wanted = [moving(one, 1 + number // 2, to=TO) for number, one in enumerate(BOOKED)]
    answers = await at_once(*((committers[number % 2], command) for number, command in enumerate(wanted)))
    assert Counter(answers) == {"Outcome": SLOTS, "slot_taken": SLOTS}
    for patient, old, command, answer in zip(PATIENTS, BOOKED, wanted, answers, strict=True):
        kept = command.moved_to if answer == "Outcome" else old.appointment
        assert await visits(core, patient) == [kept]
    assert sorted(await in_agendas(core)) == sorted([one for name in PATIENTS for one in await visits(core, name)])
    told = town.execute(
        "SELECT array_agg(event ORDER BY position) FROM event_log GROUP BY command_id "
        "HAVING bool_or(event = 'visit_given_up.v1')"
    )
    assert [events for (events,) in told] == [MOVED] * SLOTS


@pytest.mark.usefixtures("booked")
async def test_concurrent_rescheduling_and_cancelling_agree(core: Core, other_committer: Committer) -> None:
    for number, (patient, old) in enumerate(zip(PATIENTS[:SLOTS], BOOKED[:SLOTS], strict=True), start=1):
        move, cancel = moving(old, number, to=TO), build(CancelAppointment, appointment=old.appointment)
        answers = await at_once((core.committer, move), (other_committer, cancel))
        # Cancelling what was moved is nothing any more; moving what was cancelled is refused.
        assert answers[1] == "Outcome"
        assert answers[0] in {"Outcome", "appointment_cancelled"}
        assert await visits(core, patient) == ([move.moved_to] if answers[0] == "Outcome" else [])


@pytest.mark.usefixtures("booked")
async def test_an_appointment_is_rescheduled_once(core: Core, other_committer: Committer) -> None:
    for number, (patient, old) in enumerate(zip(PATIENTS[: SLOTS // 2], BOOKED, strict=False), start=1):
        one, other = moving(old, number, to=TO), moving(old, SLOTS // 2 + number, to=TO)
        answers = await at_once((core.committer, one), (other_committer, other))
        assert sorted(answers) == ["Outcome", "appointment_cancelled"]
        assert await visits(core, patient) == [(one if answers[0] == "Outcome" else other).moved_to]
