"""Hospitals in the schema."""

from typing import Annotated

import strawberry

from api.graphql.access import ALL, DOERS_OF_ALL, EVERYBODY
from api.graphql.appointments.location import LocationInput, microdegrees
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import Info, Node, coded_id, node_query, query
from api.graphql.paging import Connection, Listing, PageArguments, paged
from domain.appointments import hospital as domain
from domain.identifiers import SLUG, phone_digits
from projections.engine.keyset import Order

HospitalCode = Annotated[str, SLUG, strawberry.argument(description="The hospital's code: la-merced.")]


@strawberry.type(description="A hospital of the municipality.")
class Hospital(Node):
    code: str = strawberry.field(description="Its code: la-merced.")
    name: str = strawberry.field(description="Its name.")


_HOSPITALS = Listing("hospitals", Order[domain.HospitalRegistered](tuple[str], lambda one: (one.hospital,)))


@query("The hospitals, by code.", who=EVERYBODY)
@paged
async def hospitals(info: Info, page: PageArguments) -> Connection[Hospital]:
    wanted = page.of(info, _HOSPITALS)
    part, context = wanted.part, info.context
    after, before = (domain.stream(*key) if key else "" for key in (part.after, part.before))
    names = await context.stream_names(
        domain.stream(""), after=after, before=before, first=part.limit, backward=part.backward
    )
    states = await context.states(names)
    found = wanted.found([states[name].registered for name in names])
    return found.connection([_shown(one) for one in found.items])


@node_query("hospital", "A hospital by its code; null if there is none.", who=EVERYBODY)
async def hospital(info: Info, code: HospitalCode) -> Hospital | None:
    registered = (await info.context.state(domain.stream(code))).registered
    return _shown(registered) if registered else None


def _shown(registered: domain.HospitalRegistered) -> Hospital:
    return _hospital(registered.hospital, registered.name)


def _hospital(code: str, name: str) -> Hospital:
    return Hospital(id=coded_id("hospital", code), code=code, name=name)


@command(
    domain.RegisterHospital,
    "Register a hospital. Repeating it changes nothing.",
    who={"administrator": ALL, **DOERS_OF_ALL},
    takes=Takes(
        "A hospital to register.",
        hospital="Its code: la-merced.",
        name=Given("Its name.", clean=str.strip),
        address=Given("Its address.", clean=str.strip),
        district=Given("The macrodistrict: Max Paredes.", clean=str.strip),
        phone=Given(
            "Its telephone number in digits: +59122123456. Blanks and punctuation are ignored.", clean=phone_digits
        ),
        location=Given("Its location.", type=LocationInput | None, clean=microdegrees),
        replace="Whether it may replace other details under this code; those without a value are removed."
        " Otherwise the hospital is refused.",
    ),
    gives=Gives("The result of registering a hospital.", hospital="The hospital."),
)
async def register_hospital(_: Info, done: Done[domain.RegisterHospital]) -> Hospital:
    return _hospital(done.command.hospital, done.command.name)
