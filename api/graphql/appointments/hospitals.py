"""Hospitals in the schema."""

from typing import Annotated

import strawberry

from api.graphql.access import EVERYBODY
from api.graphql.appointments.directory import ADMINISTRATORS, Search, searched
from api.graphql.appointments.location import Location, LocationInput, location, microdegrees
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import AtLeast, Info, Node, coded_id, node_query, query
from api.graphql.links import LinkTo
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.read_models import BEHIND
from domain.appointments import hospital as domain
from domain.identifiers import SLUG, phone_digits
from projections.appointments import directory as views

InDistrict = Annotated[
    str | None,
    strawberry.argument(description="Only those in this macrodistrict; accents and case make no difference."),
]
HospitalCode = Annotated[str, SLUG, strawberry.argument(description="The hospital's code: la-merced.")]


@strawberry.type(description="A hospital of the municipality.")
class Hospital(Node):
    code: str = strawberry.field(description="Its code: la-merced.")
    name: str = strawberry.field(description="Its name.")
    address: str | None = strawberry.field(description="Its address.")
    district: str | None = strawberry.field(description="The macrodistrict in which it is: Max Paredes.")
    phone: str | None = strawberry.field(description="Its telephone number in digits: +59122123456.")
    location: Location | None = strawberry.field(description="Its place on the map.")


_HOSPITALS = Listing("hospitals", views.BY_NAME)


@query("The hospitals, by name." + BEHIND, who=EVERYBODY)
@paged
async def hospitals(
    info: Info, page: PageArguments, search: Search = None, district: InDistrict = None, at_least: AtLeast = None
) -> Connection[Hospital]:
    wanted = page.of(info, _HOSPITALS)
    asked = views.entries(
        "hospital",
        search=searched(search, "search", info),
        district=searched(district, "district", info),
        part=wanted.part,
    )
    found = wanted.found(await info.context.ask(asked, at_least=at_least))
    return found.connection([_hospital(row.code, row.name, row.contact) for row in found.items])


@node_query("hospital", "A hospital by its code; null if there is none.", who=EVERYBODY)
async def hospital(info: Info, code: HospitalCode) -> Hospital | None:
    registered = (await info.context.state(domain.stream(code))).registered
    return _hospital(code, registered.name, registered) if registered else None


def _hospital(code: str, name: str, contact: domain.HospitalRegistered | views.Contact | None) -> Hospital:
    return Hospital(
        id=coded_id("hospital", code),
        code=code,
        name=name,
        address=contact.address if contact else None,
        district=contact.district if contact else None,
        phone=contact.phone if contact else None,
        location=location(contact.location) if contact else None,
    )


@command(
    domain.RegisterHospital,
    "Register a hospital. Repeating it changes nothing.",
    who=ADMINISTRATORS,
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
async def register_hospital(_: Info, done: Done[domain.RegisterHospital]) -> Annotated[str, LinkTo("hospital")]:
    return done.command.hospital
