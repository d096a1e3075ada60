"""Read models agree with the domain, whatever happens and however the log is cut into pages."""

import asyncio
import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import projections.engine.building
import projections.engine.pages
from domain.appointments import agenda as agendas
from domain.appointments.agenda import AgendaPublished, AppointmentBooked, AppointmentCancelled, SlotHeld
from domain.appointments.availability import PublishedAgenda, Slot, free_count, slot_state
from domain.appointments.cancelling import CancelAppointment
from domain.appointments.holding import HoldSlot
from domain.appointments.publishing import PublishAgenda
from domain.calendar import local_date
from domain.decider import Command, Event, build, fold
from domain.errors import Rejected
from domain.identifiers import agenda_id
from infra.log.core import Core
from infra.postgres.views import Views
from projections.appointments.appointments import APPOINTMENTS, of_day
from projections.appointments.availability import AVAILABILITY, AgendaRow, agendas_from, free_by_day, published_agenda
from projections.appointments.directory import DIRECTORY
from projections.engine.generations import Places
from projections.engine.keyset import Range
from projections.engine.projection import Entry
from projections.engine.runner import verify
from tests.city import AGENDA, DAY, agenda, booking, hospital, key, opaque
from tests.conftest import Clock
from tests.projecting import decode, projector
from tests.towns import Town

BEGIN = datetime(2027, 1, 5, 12, tzinfo=UTC)
MOMENTS = [BEGIN + timedelta(minutes=10 * n - 5) for n in range(14)]
SLOTS = 5


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """An agenda's events as decisions make them: a slot is booked while nobody has it, a booking is cancelled once."""
    slots = [Slot(number=n, start=BEGIN + timedelta(minutes=20 * (n - 1)), minutes=20) for n in range(1, SLOTS + 1)]
    events: list[Event] = [
        AgendaPublished(
            agenda=AGENDA,
            hospital="la-merced",
            specialty="pediatrics",
            practitioner="p-01",
            date=DAY,
            slots=slots,
            quotas={"WEB": 3},
            release_at=draw(st.sampled_from([None, *MOMENTS])),
        )
    ]
    live: dict[int, AppointmentBooked] = {}
    for number in range(draw(st.integers(0, 25))):
        slot = draw(st.integers(1, SLOTS))
        if slot in live:
            gone = live.pop(slot)
            events.append(
                AppointmentCancelled(appointment=gone.appointment, slot=slot, channel=gone.channel, reason="PATIENT")
            )
        elif draw(st.booleans()):
            name, channel = f"{AGENDA}/{opaque(str(number))}", draw(st.sampled_from(["WEB", "PHONE"]))
            live[slot] = AppointmentBooked(appointment=name, slot=slot, patient=opaque(f"p {number}"), channel=channel)
            events.append(live[slot])
        else:
            until = draw(st.sampled_from(MOMENTS))
            events.append(SlotHeld(hold=opaque(f"h {number}"), slot=slot, patient=opaque("ana"), held_until=until))
    return events


@settings(deadline=None)
@given(histories(), st.sampled_from(MOMENTS))
def test_an_agenda_s_row_agrees_with_its_stream(events: list[Event], now: datetime) -> None:
    row: AgendaRow | None = None
    for position, event in enumerate(events, start=1):
        row = AVAILABILITY.evolve(row, Entry(position=position, stream=agendas.stream(AGENDA), event=event), AGENDA)  # type: ignore[assignment]
    assert row is not None
    state = fold(agendas.stream(AGENDA), events)
    seen, lived = published_agenda(row), agendas.published_agenda(state)
    assert lived is not None
    for field in PublishedAgenda.__struct_fields__:
        if field == "booked":
            assert set(seen.booked) == set(lived.booked)
        elif field == "holds":
            assert {slot: hold.held_until for slot, hold in seen.holds.items()} == {
                slot: hold.held_until for slot, hold in lived.holds.items()
            }
        else:
            assert getattr(seen, field) == getattr(lived, field)
    for slot in lived.slots:
        assert slot_state(seen, slot, now) == slot_state(lived, slot, now) == slot_state(state, slot, now)
    assert free_count(seen, now) == free_count(lived, now) == free_count(state, now)


PRACTITIONERS = ["p-01", "p-02", "p-03"]
PATIENTS = [f"patient {n}" for n in range(8)]


class Office:
    """Does what comes to mind."""

    def __init__(self, core: Core, clock: Clock, dice: random.Random) -> None:
        self.core = core
        self.clock = clock
        self.dice = dice
        self.booked: list[str] = []
        self.count = 0

    async def act(self) -> None:
        self.count += 1
        self.clock.wait(self.dice.choice([0, 1, 60, 400]))
        name = AGENDA.replace("p-01", self.dice.choice(PRACTITIONERS))
        slot, patient = self.dice.randint(1, SLOTS), self.dice.choice(PATIENTS)
        wanted: Command
        match self.dice.randrange(4):
            case 0:
                hold = opaque(f"hold {self.count}")
                wanted = build(HoldSlot, agenda=name, slot=slot, patient=opaque(patient), hold=hold, hold_s=300)
            case 1 if self.booked:
                wanted = build(CancelAppointment, appointment=self.dice.choice(self.booked))
            case _:
                wanted = booking(slot, patient, agenda=name, name=str(self.count))
                self.booked.append(wanted.appointment)
        try:
            await self.core.committer.submit(wanted, key(str(self.count)))
        except Rejected:
            if wanted.__class__.__name__ == "BookAppointment":
                self.booked.pop()


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(4))
async def test_any_pages_give_the_same_rows_as_a_rebuild(
    core: Core, town: Town, views: Views, clock: Clock, seed: int
) -> None:
    dice = random.Random(seed)
    await core.committer.submit(hospital(), key("hospital"))
    for practitioner in PRACTITIONERS:
        await core.committer.submit(agenda(SLOTS, practitioner=practitioner), key(practitioner))
    office = Office(core, clock, dice)
    with projector(town) as projecting:
        for _ in range(30):
            await asyncio.gather(*(office.act() for _ in range(dice.randint(1, 5))))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(projections.engine.pages, "PAGE_EVENTS_MAX", dice.choice([1, 2, 3, 7, 5_000]))
                patch.setattr(projections.engine.building, "KEPT_BYTES_MAX", dice.choice([0, 500, 2**26]))
                projecting.catch_up(look=dice.random() < 0.5)
        await agree(core, views, clock)
    for projection in (AVAILABILITY, APPOINTMENTS, DIRECTORY):
        found = verify(town.application, Places(town.schema), projection, decode)
        assert found.different == 0, str(found)
        assert found.rows > 0


async def agree(core: Core, views: Views, clock: Clock) -> None:
    """What the read models answer is what the streams say at several moments."""
    streams = {name: f"agenda/{AGENDA.replace('p-01', name)}" for name in PRACTITIONERS}
    states = {name: (await core.log.state(stream)) for name, stream in streams.items()}
    question = agendas_from(hospital="la-merced", specialty=None, practitioner=None, on_or_after=DAY, part=Range(10))
    rows, _ = await views.ask(question)
    assert [published_agenda(row).unbooked for row in rows] == [states[row.practitioner].unbooked for row in rows]
    assert len(rows) == len(PRACTITIONERS)
    for now in (clock.now, BEGIN + timedelta(minutes=1), BEGIN + timedelta(minutes=41), BEGIN + timedelta(days=1)):
        free = {name: free_count(state, now) for name, state in states.items()}
        by_day, _ = await views.ask(
            free_by_day(specialty="pediatrics", hospital=None, practitioner=None, first=DAY, last=DAY, now=now)
        )
        assert [(day.agendas, day.free) for day in by_day] == [(len(PRACTITIONERS), sum(free.values()))]
        firsts = [
            (slot.start, name, slot.number)
            for name, state in states.items()
            for slot in state.published.slots
            if slot_state(state, slot.number, now) == "FREE"
        ]
        (day,) = by_day
        seen = None if day.agenda is None else (day.start, day.agenda.rpartition("/")[2], day.slot)
        assert seen == min(firsts, default=None)
    visits, _ = await views.ask(of_day("la-merced", DAY, specialty=None, part=Range(1_000)))
    live = {appointment for state in states.values() for appointment in state.booked.values()}
    known = {appointment for state in states.values() for appointment in state.appointments}
    assert {visit.appointment for visit in visits} == known
    assert {visit.appointment for visit in visits if visit.state == "BOOKED"} == live
    assert all(local_date(visit.start) == visit.date for visit in visits)


DAYS = [DAY + timedelta(days=n) for n in range(4)]


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(4))
async def test_the_next_free_slot_of_several_days_is_the_first_of_all(
    core: Core, town: Town, views: Views, clock: Clock, seed: int
) -> None:
    """Also if the first days have no free slot: all are booked, held, in the past, or not released."""
    dice = random.Random(seed)
    await core.committer.submit(hospital(), key("hospital"))
    agendas_of = await publish_days(core, clock, dice)
    with projector(town) as projecting:
        projecting.catch_up()
    states = {name: await core.log.state(agendas.stream(name)) for name in agendas_of}
    for now in (clock.now, *(BEGIN + timedelta(days=day, minutes=minute) for day in range(4) for minute in (-5, 21))):
        free = [
            (state.published.date, slot.start, name, slot.number, slot.minutes)
            for name, state in states.items()
            for slot in state.published.slots
            if slot_state(state, slot.number, now) == "FREE"
        ]
        found, _ = await views.ask(
            free_by_day(specialty="pediatrics", hospital=None, practitioner=None, first=DAYS[0], last=DAYS[-1], now=now)
        )
        assert [day.date for day in found] == DAYS
        for day in found:
            here = [one for one in free if one[0] == day.date]
            assert (day.agendas, day.free) == (len(PRACTITIONERS), len(here))
            assert day.start == min((start for _, start, *_ in here), default=None)
        named = [(day.date, day.start, day.agenda, day.slot, day.minutes) for day in found if day.agenda]
        assert named == sorted(free)[:1]


async def publish_days(core: Core, clock: Clock, dice: random.Random) -> list[str]:
    """Publish agendas of several days at different times, with almost no free slot on the first two days."""
    names = []
    for day, practitioner in itertools.product(DAYS, PRACTITIONERS):
        begin = BEGIN + (day - DAY) + timedelta(minutes=10 * dice.randrange(3))
        slots = [{"start": begin + timedelta(minutes=20 * n), "minutes": 20 + n} for n in range(SLOTS)]
        release_at = dice.choice([None, None, begin - timedelta(minutes=5), begin + timedelta(days=1)])
        command = build(
            PublishAgenda,
            hospital="la-merced",
            specialty="pediatrics",
            practitioner=practitioner,
            date=day,
            slots=slots,
            release_at=release_at,
        )
        names.append(agenda_id("la-merced", day, practitioner))
        await core.committer.submit(command, key(names[-1]))
        if release_at:  # its slots can't be taken yet
            continue
        taken = range(1, SLOTS + 1) if day in DAYS[:2] else dice.sample(range(1, SLOTS + 1), 2)
        for slot in taken:
            patient = opaque(f"{names[-1]} {slot}")
            wanted: Command = booking(slot, f"{names[-1]} {slot}", agenda=names[-1])
            if dice.random() < 0.2:
                wanted = build(HoldSlot, agenda=names[-1], slot=slot, patient=patient, hold=patient, hold_s=300)
            await core.committer.submit(wanted, key(f"{names[-1]} {slot}"))
    return names
