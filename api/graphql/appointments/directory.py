"""Names in the schema: specialties, practitioners and rooms. Lists of hospitals are searched in the same way."""

from typing import Annotated

import strawberry

from api.graphql.access import ALL, DOERS_OF_ALL, EVERYBODY
from api.graphql.commands import Done, Given, Gives, Takes, command
from api.graphql.fields import AtLeast, Info, Node, coded_id, node_query, query, refuse
from api.graphql.links import LinkTo, link
from api.graphql.paging import Connection, Listing, PageArguments, paged
from api.graphql.read_models import BEHIND
from domain.appointments import practitioner as practitioners_domain
from domain.appointments import specialty as specialties_domain
from domain.errors import Hint
from domain.identifiers import SLUG, UNSEEN, fits, hint_of, pattern
from projections.appointments import directory as views

SEARCH_LENGTH_MAX = 100


class SearchHint(
    Hint,
    es="una búsqueda tiene hasta {limit} caracteres, en una sola línea y sin caracteres invisibles",
    en="a search has at most {limit} characters, in a single line and without invisible characters",
):
    limit: int


SEARCH = pattern(rf"^[^{UNSEEN}]{{0,{SEARCH_LENGTH_MAX}}}\Z", SearchHint(limit=SEARCH_LENGTH_MAX))
Search = Annotated[
    str | None,
    strawberry.argument(
        description="Only those with each of these words, or parts of words, in the name or the code. Accents and case"
        " make no difference."
    ),
]
SpecialtyCode = Annotated[str, SLUG, strawberry.argument(description="The specialty's code: pediatrics.")]
PractitionerCode = Annotated[str, SLUG, strawberry.argument(description="The practitioner's code: p-0012.")]
RoomCode = Annotated[str, SLUG, strawberry.argument(description="The room's code: la-merced-dental.")]
AtHospital = Annotated[str | None, SLUG, strawberry.argument(description="The code of a hospital; default: all.")]
InSpecialty = Annotated[str | None, SLUG, strawberry.argument(description="The code of a specialty; default: all.")]
REPLACE = "Whether it may replace other details under this code. Otherwise, other details are refused."

ADMINISTRATORS = {"administrator": ALL, **DOERS_OF_ALL}


def searched(text: str | None, path: str, info: Info) -> str | None:
    """A text to search for, if the query has one. Raises a GraphQLError if it is malformed."""
    if text is not None and not fits(SEARCH, text):
        refuse(info, path, hint_of(SEARCH))
    return text


@strawberry.type(description="A medical specialty.")
class Specialty(Node):
    code: str = strawberry.field(description="Its code: pediatrics.")
    known_name: strawberry.Private[str | None] = None

    @strawberry.field(description="Its name; null if it is not registered.")
    async def name(self, info: Info) -> str | None:
        if self.known_name is not None:
            return self.known_name
        registered = (await info.context.state(specialties_domain.stream(self.code))).registered
        return registered.name if registered else None


def specialty_of(code: str, name: str | None = None) -> Specialty:
    """The specialty with this code. Its name is read when a document selects it, unless it is given."""
    return Specialty(id=coded_id("specialty", code), code=code, known_name=name)


_SPECIALTIES = Listing("specialties", views.BY_NAME)


@query("The registered specialties, by name." + BEHIND, who=EVERYBODY)
@paged
async def specialties(
    info: Info, page: PageArguments, search: Search = None, at_least: AtLeast = None
) -> Connection[Specialty]:
    wanted = page.of(info, _SPECIALTIES)
    asked = views.entries("specialty", search=searched(search, "search", info), part=wanted.part)
    found = wanted.found(await info.context.ask(asked, at_least=at_least))
    return found.connection([specialty_of(row.code, row.name) for row in found.items])


@node_query(
    "specialty",
    "A specialty by its code. One that is not registered has no name, but may have agendas.",
    who=EVERYBODY,
)
async def specialty(_: Info, code: SpecialtyCode) -> Specialty | None:
    return specialty_of(code)


@strawberry.type(description="A person who sees patients.")
class Practitioner(Node):
    code: str = strawberry.field(description="Their code: p-0012.")
    name: str | None = strawberry.field(description="Their name as it is on the door; null if it is not registered.")
    specialties: list[Specialty] = strawberry.field(description="Their specialties.")
    hospital = link(
        "hospital", "The hospital where they work; null if it is unknown or there are several.", key="hospital_code"
    )
    hospital_code: strawberry.Private[str | None]


def practitioner_of(
    code: str, name: str | None = None, specialties: list[str] | None = None, hospital: str | None = None
) -> Practitioner:
    return Practitioner(
        id=coded_id("practitioner", code),
        code=code,
        name=name,
        specialties=[specialty_of(one) for one in specialties or ()],
        hospital_code=hospital,
    )


_PRACTITIONERS = Listing("practitioners", views.BY_NAME)


@query("The registered practitioners, by name." + BEHIND, who=EVERYBODY)
@paged
async def practitioners(
    info: Info,
    *,
    page: PageArguments,
    search: Search = None,
    hospital: AtHospital = None,
    specialty: InSpecialty = None,
    at_least: AtLeast = None,
) -> Connection[Practitioner]:
    wanted = page.of(info, _PRACTITIONERS)
    asked = views.entries(
        "practitioner",
        search=searched(search, "search", info),
        hospital=hospital,
        specialty=specialty,
        part=wanted.part,
    )
    found = wanted.found(await info.context.ask(asked, at_least=at_least))
    return found.connection([practitioner_of(row.code, row.name, row.specialties, row.hospital) for row in found.items])


@node_query(
    "practitioner",
    "A practitioner by their code; null if the code is a room's. One who is not registered has no name"
    " but may have agendas.",
    who=EVERYBODY,
)
async def practitioner(info: Info, code: PractitionerCode) -> Practitioner | None:
    known = (await info.context.state(practitioners_domain.stream(code))).registered
    if known:
        return practitioner_of(code, known.name, known.specialties, known.hospital)
    is_room = (await info.context.state(practitioners_domain.room_stream(code))).registered
    return None if is_room else practitioner_of(code)


@strawberry.type(description="A room of a hospital with agendas of its own, whoever works there.")
class Room(Node):
    code: str = strawberry.field(description="Its code: la-merced-dental.")
    name: str = strawberry.field(description="Its name.")
    hospital = link("hospital", "The hospital.", key="hospital_code")
    hospital_code: strawberry.Private[str]


def _room(code: str, name: str, hospital: str) -> Room:
    return Room(id=coded_id("room", code), code=code, name=name, hospital_code=hospital)


_ROOMS = Listing("rooms", views.BY_NAME)


@query("The registered rooms, by name." + BEHIND, who=EVERYBODY)
@paged
async def rooms(
    info: Info, page: PageArguments, search: Search = None, hospital: AtHospital = None, at_least: AtLeast = None
) -> Connection[Room]:
    wanted = page.of(info, _ROOMS)
    asked = views.entries(
        "room",
        search=searched(search, "search", info),
        hospital=hospital,
        part=wanted.part,
    )
    found = wanted.found(await info.context.ask(asked, at_least=at_least))
    return found.connection([_room(row.code, row.name, row.hospital or "") for row in found.items])


@node_query("room", "A room by its code; null if it is not registered.", who=EVERYBODY)
async def room(info: Info, code: RoomCode) -> Room | None:
    registered = (await info.context.state(practitioners_domain.room_stream(code))).registered
    return _room(code, registered.name, registered.hospital) if registered else None


@command(
    specialties_domain.RegisterSpecialty,
    "Register a specialty. Repeating it changes nothing.",
    who=ADMINISTRATORS,
    takes=Takes(
        "A specialty to register.",
        specialty="Its code: pediatrics.",
        name=Given("Its name.", clean=str.strip),
        replace=REPLACE,
    ),
    gives=Gives("The result of registering a specialty.", specialty="The specialty."),
)
async def register_specialty(
    _: Info, done: Done[specialties_domain.RegisterSpecialty]
) -> Annotated[str, LinkTo("specialty")]:
    return done.command.specialty


@command(
    practitioners_domain.RegisterPractitioner,
    "Register a practitioner. Repeating it changes nothing.",
    who=ADMINISTRATORS,
    takes=Takes(
        "A practitioner to register. The name is public.",
        practitioner="Their code: p-0012. It can't be a room's.",
        name=Given("Their name as it is on the door.", clean=str.strip),
        specialties=Given(
            f"The codes of their specialties, at most {practitioners_domain.SPECIALTIES_MAX}.", type=list[str]
        ),
        hospital="The code of the hospital where they work; null if it is unknown or there are several.",
        replace=REPLACE,
    ),
    gives=Gives("The result of registering a practitioner.", practitioner="The practitioner."),
)
async def register_practitioner(
    _: Info, done: Done[practitioners_domain.RegisterPractitioner]
) -> Annotated[str, LinkTo("practitioner")]:
    return done.command.practitioner


@command(
    practitioners_domain.RegisterRoom,
    "Register a room. Repeating it changes nothing.",
    who=ADMINISTRATORS,
    takes=Takes(
        "A room to register.",
        room="Its code, unique in the city: la-merced-dental. It can't be a practitioner's.",
        hospital="The hospital's code.",
        name=Given("Its name.", clean=str.strip),
        replace=REPLACE,
    ),
    gives=Gives("The result of registering a room.", room="The room."),
)
async def register_room(_: Info, done: Done[practitioners_domain.RegisterRoom]) -> Annotated[str, LinkTo("room")]:
    return done.command.room
