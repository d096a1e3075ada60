"""Agendas in the schema: slots, quotas, publishing."""

from datetime import date as Date
from datetime import datetime
from enum import Enum
from typing import Annotated, cast

import strawberry

from api.access.grant import Grant
from api.graphql.access import DOERS_OF_ALL, EVERYBODY
from api.graphql.appointments.access import own_hospital
from api.graphql.appointments.directory import Practitioner, Room, Specialty, practitioner_of, specialty_of
from api.graphql.commands import words_of
from api.graphql.fields import Info, Input, KeyedInput, Node, Payload, mutation, node_query
from api.graphql.links import find, link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.scalars import Instant, Position
from domain.appointments import agenda as domain
from domain.appointments import availability, publishing
from domain.decider import build
from domain.identifiers import AGENDA_NAME
from projections.engine.keyset import Order


@words_of(domain.Channel)
@strawberry.enum(description="Through which channel an appointment is booked.")
class Channel(Enum):
    WEB = strawberry.enum_value("WEB", description="On a web page or in an app, by the patient or their family.")
    PHONE = strawberry.enum_value("PHONE", description="By telephone.")
    WINDOW = strawberry.enum_value("WINDOW", description="At the hospital's window.")
    ASSISTED = strawberry.enum_value("ASSISTED", description="Elsewhere, by somebody who helps patients.")


@words_of(availability.SlotState)
@strawberry.enum(description="The state of a slot at the time of the request.")
class SlotState(Enum):
    FREE = strawberry.enum_value("FREE", description="It can be booked.")
    NOT_RELEASED = strawberry.enum_value(
        "NOT_RELEASED", description="It is free, but can't be booked before the agenda's `releaseAt`."
    )
    HELD = strawberry.enum_value("HELD", description="It is held for somebody until `heldUntil`.")
    BOOKED = strawberry.enum_value("BOOKED", description="It has an appointment.")
    PAST = strawberry.enum_value("PAST", description="It began without an appointment.")


@strawberry.type(description="A time in an agenda for one patient.")
class Slot:
    number: int = strawberry.field(description="The number on the ficha, counted from 1.")
    start: Instant = strawberry.field(description="When it begins.")
    minutes: int = strawberry.field(description="Its length in minutes.")
    state: SlotState = strawberry.field(description="Its state at the time of the request.")
    held_until: Instant | None = strawberry.field(description="When its hold expires, if it is held.")


@strawberry.type(description="The number of appointments that can be booked in an agenda through a channel.")
class Quota:
    channel: Channel = strawberry.field(description="The channel.")
    limit: int = strawberry.field(description="The maximum number of appointments.")
    taken: int = strawberry.field(description="The number of live appointments booked through it.")


def _slot(agenda: availability.PublishedAgenda, slot: availability.Slot, now: datetime) -> Slot:
    state = availability.slot_state(agenda, slot.number, now)
    held_until = Instant(agenda.holds[slot.number].held_until) if state == "HELD" else None
    return Slot(
        number=slot.number,
        start=Instant(slot.start),
        minutes=slot.minutes,
        state=SlotState[state],
        held_until=held_until,
    )


_SLOTS = Listing("agenda.slots", Order[int](tuple[int], lambda number: (number,)))


@strawberry.type(description="The slots of one practitioner (or room) on one date.")
class Agenda(Node):
    id: strawberry.ID = strawberry.field(description="hospital/date/practitioner")
    hospital = link("hospital", "The hospital.", key="hospital_code")
    specialty: Specialty = strawberry.field(description="The specialty.")
    date: Date = strawberry.field(description="The date in La Paz.")
    release_at: Instant | None = strawberry.field(description="When booking opens; null if it was open from the start.")
    quotas: list[Quota] = strawberry.field(description="Limits by channel; a channel that is not listed has no limit.")
    free_slots: int = strawberry.field(
        description="The number of slots that are FREE at the time of the request: 0 before `releaseAt`."
    )
    hospital_code: strawberry.Private[str]
    practitioner_code: strawberry.Private[str]
    agenda: strawberry.Private[availability.PublishedAgenda]
    now: strawberry.Private[datetime]

    @strawberry.field(description="The practitioner; null if it is a room's agenda.")
    async def practitioner(self, info: Info) -> Practitioner | None:
        found = await find(info, "practitioner", self.practitioner_code)
        if found is None and await self.room(info) is None:
            found = practitioner_of(self.practitioner_code)  # the code is that of another hospital's room
        return cast("Practitioner | None", found)

    @strawberry.field(description="The room; null if it is a practitioner's agenda.")
    async def room(self, info: Info) -> Room | None:
        if await find(info, "practitioner", self.practitioner_code) is not None:
            return None
        found = cast("Room | None", await find(info, "room", self.practitioner_code))
        return found if found and found.hospital_code == self.hospital_code else None

    @strawberry.field(description="The slots in order of number.")
    @paged
    def slots(
        self,
        info: Info,
        page: PageArguments,
        state: Annotated[SlotState | None, strawberry.argument(description="Only slots in this state.")] = None,
    ) -> Connection[Slot]:
        wanted = page.of(info, _SLOTS, self.id)
        in_state = cast("availability.SlotState", state.name) if state else None
        found = wanted.within(availability.numbers_in(self.agenda, in_state, self.now))
        return found.connection([_slot(self.agenda, self.agenda.slots[number], self.now) for number in found.items])


def agenda_to_graphql(state: domain.Agenda, now: datetime) -> Agenda | None:
    agenda = domain.published_agenda(state)
    return published_to_graphql(agenda, now) if agenda else None


def published_to_graphql(agenda: availability.PublishedAgenda, now: datetime) -> Agenda:
    quotas = [
        Quota(channel=Channel(channel), limit=limit, taken=agenda.taken.get(channel, 0))
        for channel, limit in agenda.quotas.items()
        if channel in Channel.__members__  # a channel that was dropped can't be used for booking
    ]
    return Agenda(
        id=strawberry.ID(agenda.agenda),
        hospital_code=agenda.hospital,
        specialty=specialty_of(agenda.specialty),
        practitioner_code=agenda.practitioner,
        date=agenda.date,
        release_at=Instant(agenda.release_at) if agenda.release_at else None,
        quotas=quotas,
        free_slots=availability.free_count(agenda, now),
        agenda=agenda,
        now=now,
    )


@node_query("agenda", "An agenda by id; null if it was not published.", who=EVERYBODY)
async def agenda(
    info: Info, id: Annotated[strawberry.ID, AGENDA_NAME, strawberry.argument(description="hospital/date/practitioner")]
) -> Agenda | None:
    return agenda_to_graphql(await info.context.state(domain.stream(id)), info.context.services.now())


@strawberry.input(description="A time in an agenda.")
class SlotInput:
    start: Instant = strawberry.field(description="When it begins, on the agenda's date in La Paz.")
    minutes: int = strawberry.field(description="Its length in minutes.")


@strawberry.input(description="The number of appointments that can be booked through a channel.")
class QuotaInput:
    channel: Channel = strawberry.field(description="The channel.")
    limit: int = strawberry.field(description="The maximum number of appointments.")


@strawberry.input(description="An agenda to publish. Slots are numbered in order of their start.")
class PublishAgendaInput(KeyedInput):
    hospital: str = strawberry.field(description="The hospital's code.")
    specialty: str = strawberry.field(description="The specialty's code: pediatrics.")
    practitioner: str = strawberry.field(description="The practitioner's or the room's code.")
    date: Date = strawberry.field(description="The date in La Paz.")
    slots: list[SlotInput] = strawberry.field(description="1 to 5000 slots.")
    quotas: list[QuotaInput] = strawberry.field(
        default_factory=list, description="Limits by channel; without an entry: no limit."
    )
    release_at: Instant | None = strawberry.field(default=None, description="When booking opens; null: at once.")


@strawberry.type(description="The result of publishing an agenda.")
class PublishAgendaPayload(Payload):
    agenda: Agenda | None = strawberry.field(default=None, description="The agenda.")


@mutation(
    publishing.PublishAgenda,
    description="Publish an agenda. Publishing the same agenda again changes nothing.",
    who={"hospital_clerk": own_hospital("input.hospital"), **DOERS_OF_ALL},
)
async def publish_agenda(info: Info, grant: Grant, input: Input[PublishAgendaInput]) -> PublishAgendaPayload:
    context, kind = info.context, publishing.PublishAgenda
    fields = {
        "hospital": input.hospital,
        "specialty": input.specialty,
        "practitioner": input.practitioner,
        "date": input.date,
        "slots": [{"start": slot.start, "minutes": slot.minutes} for slot in input.slots],
        "quotas": publishing.quotas_by_channel((quota.channel.name, quota.limit) for quota in input.quotas),
        "release_at": input.release_at,
    }
    command, outcome = await context.perform(
        grant, input.idempotency_key, fields, kind, lambda _: build(kind, **fields)
    )
    state = await context.state(domain.stream(command.agenda))
    return PublishAgendaPayload(
        agenda=agenda_to_graphql(state, context.services.now()), position=Position(outcome.position)
    )
