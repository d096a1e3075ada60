"""Hospitals in the schema."""

from typing import Annotated

import strawberry

from api.graphql.access import ALL, DOERS_OF_ALL, EVERYBODY
from api.graphql.appointments.location import LocationInput, microdegrees
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import Info, Node, coded_id, node_query, query, refuse
from api.graphql.paging import After, Connection, CursorHint, First, page, page_size
from domain.appointments import hospital as domain
from domain.identifiers import SLUG, fits, phone_digits

HospitalCode = Annotated[str, strawberry.argument(description="The hospital's code: la-merced.")]


@strawberry.type(description="A hospital of the municipality.")
class Hospital(Node):
    code: str = strawberry.field(description="Its code: la-merced.")
    name: str = strawberry.field(description="Its name.")


@query("The hospitals, by code.", who=EVERYBODY)
async def hospitals(info: Info, first: First, after: After = None) -> Connection[Hospital]:
    first = page_size(first, info)
    if after is not None and not fits(SLUG, after):
        refuse(info, "after", CursorHint())
    context = info.context
    names = await context.stream_names(domain.stream(""), after=domain.stream(after or ""), first=first + 1)
    states = await context.states(names)
    return page([_shown(state.registered) for state in states.values()], first, lambda hospital: hospital.code)


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
