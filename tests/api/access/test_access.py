"""The table of docs/access.md, cell by cell, against the API: what it promises to each actor, and nothing else."""

import re
import uuid
from collections.abc import Callable
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLUnionType, get_named_type

from api.access.identity import ROLES, Role
from api.graphql.access import EVERYBODY, table
from api.graphql.context import Context
from api.graphql.engine.execution import Asked, followed
from api.graphql.schema import FIELDS, schema
from domain.appointments.agenda import BookAppointment
from domain.decider import build
from domain.identifiers import Kind
from domain.people.dependants import DeclareDependant
from infra.gateways.keys import Login
from infra.log.core import Core
from tests.api.conftest import Client
from tests.city import (
    AGENDA,
    agenda,
    booking,
    hospital,
    key,
    opaque,
    open_line,
    person,
    service_point,
    take,
    turn_of,
)
from tests.conftest import Clock, Town

RULES = {name: field.who for name, field in FIELDS.items()}
DOCS = Path(__file__).parents[3] / "docs" / "access.md"
LINE, OTHER_LINE = open_line("sopocachi").line, open_line("centro").line
OTHER_AGENDA = AGENDA.replace("la-merced", "san-juan")
CI = {"Ana": "4820193", "Luis": "5000001", "Eva": "6000001", "Juan": "7000001"}
# What only the person, and who works with them, may know.
PERSONAL = {"Person", "Patient", "Appointment", "Hold", "Dependant", "TurnRecord"}

LOGINS: dict[Role, Login | None] = {
    **{
        role: Login(subject=f"a-{role}", roles=[role], hospitals=["la-merced"], service_points=["sopocachi"])
        for role in ROLES
    },
    "anonymous": None,
    "citizen": Login(subject="ana", identity=CI["Ana"]),
}

OFFICER = Login(subject="o", roles=["procedures_officer"])


class Place(NamedTuple):
    """What a field is asked about: what is the actors' own, or somebody else's."""

    hospital: str
    agenda: str
    person: str
    appointment: str
    channel: dict[Role, str]
    line: str
    turn: str


def visit(name: str, where: str) -> BookAppointment:
    """Nobody is in two places at once."""
    return booking({"Ana": 1, "Luis": 2}[name] if where == AGENDA else {"Ana": 3, "Luis": 4}[name], name, agenda=where)


def place(role: Role, *, own: bool) -> Place:
    """For a citizen own is what is Ana's, wherever; for a clerk what is at La Merced or Sopocachi, whosoever."""
    name = "Ana" if own or role != "citizen" else "Luis"
    where = AGENDA if own or role == "citizen" else OTHER_AGENDA
    line = LINE if own or role == "citizen" else OTHER_LINE
    return Place(
        hospital=where.partition("/")[0],
        agenda=where,
        person=opaque(name),
        appointment=visit(name, where).appointment,
        channel={"citizen": "WEB"},
        line=line,
        turn=turn_of(name, line),
    )


def query(field: str, arguments: str, selected: str, variables: Callable[[Place], dict[str, Any]]) -> Any:
    asked = f"query ({arguments})" if arguments else "query"
    return lambda at, role: (f"{asked} {{ {field} {{ {selected} }} }}", variables(at))


def mutation(name: str, wanted: Callable[[Place, Role], dict[str, Any]]) -> Any:
    kind = name[0].upper() + name[1:] + "Input"
    document = f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ errors {{ code }} }} }}"
    return lambda at, role: (
        document,
        {"input": {"idempotencyKey": f"{role}/{at.agenda}/{at.person}", **wanted(at, role)}},
    )


HOLD = "mutation ($input: HoldSlotInput!) { holdSlot(input: $input) { errors { code } } }"
BOOK = "mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) { errors { code } } }"
REGISTER = "mutation ($input: RegisterPersonInput!) { registerPerson(input: $input) { person { id } errors { code } } }"

DECLARE = "mutation ($input: DeclareDependantInput!) { declareDependant(input: $input) { errors { code } } }"
CONFIRM = "mutation ($input: ConfirmDependantInput!) { confirmDependant(input: $input) { errors { code } } }"
END = "mutation ($input: EndDependencyInput!) { endDependency(input: $input) { errors { code } } }"
CANCEL = "mutation ($input: CancelAppointmentInput!) { cancelAppointment(input: $input) { errors { code } } }"
ERASE = "mutation ($input: ErasePersonInput!) { erasePerson(input: $input) { errors { code } } }"
VISITS = "appointments(first: 9) { nodes { hospital } }"
CORRECT = "mutation ($input: CorrectPersonInput!) { correctPerson(input: $input) { errors { code } } }"
OFFICES = ("procedures_officer", "administrator")  # which correct an identity number, and nothing else
NODES = "nodes { __typename }"
SLOT = {"start": "2027-01-09T12:00:00Z", "minutes": 20}
SAMPLES: dict[str, Callable[[Place, Role], tuple[str, dict[str, Any]]]] = {
    "Query.node hospital": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.hospital}),
    "Query.node agenda": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.agenda}),
    "Query.node appointment": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.appointment}),
    "Query.node person": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.person}),
    "Query.hospital": query("hospital(id: $id)", "$id: ID!", "id", lambda at: {"id": at.hospital}),
    "Query.appointment": query("appointment(id: $id)", "$id: ID!", "id", lambda at: {"id": at.appointment}),
    "Query.hospitals": query("hospitals(first: 1)", "", NODES, lambda at: {}),
    "Query.agenda": query("agenda(id: $id)", "$id: ID!", "id", lambda at: {"id": at.agenda}),
    "Query.agendas": query("agendas(hospital: $h, first: 1)", "$h: ID!", NODES, lambda at: {"h": at.hospital}),
    "Query.availability": query('availability(specialty: "pediatrics")', "", "freeSlots", lambda at: {}),
    "Query.patient": query("patient(id: $id)", "$id: ID!", "id", lambda at: {"id": at.person}),
    "Query.appointments": query(
        "appointments(patient: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.person}
    ),
    "Query.person": query("person(id: $id)", "$id: ID!", "id", lambda at: {"id": at.person}),
    "Query.personByIdentity": query(
        "personByIdentity(identity: $ci)", "$ci: String!", "id",
        lambda at: {"ci": CI["Ana"] if at.person == opaque("Ana") else CI["Luis"]},
    ),
    "Query.dayList": query(
        'dayList(hospital: $h, date: "2027-01-05", first: 1)', "$h: ID!", NODES, lambda at: {"h": at.hospital}
    ),
    "Query.utilisation": query(
        'utilisation(hospital: $h, onOrAfter: "2027-01-05", to: "2027-01-06")', "$h: ID!", "slots",
        lambda at: {"h": at.hospital},
    ),
    "Query.webhooks": query("webhooks", "", "id", lambda at: {}),
    "Query.deliveries": query('deliveries(webhook: "sms", first: 1)', "", NODES, lambda at: {}),
    "Mutation.registerWebhook": mutation(
        "registerWebhook",
        lambda at, _: {"webhook": "sms", "name": "SMS", "url": "https://sms.example.org", "kinds": ["NOTICE_GIVEN"]},
    ),
    "Mutation.removeWebhook": mutation("removeWebhook", lambda at, _: {"webhook": "sms"}),
    "Mutation.resendDelivery": mutation("resendDelivery", lambda at, _: {"delivery": "sms/1"}),
    "Mutation.registerHospital": mutation(
        "registerHospital", lambda at, _: {"hospital": at.hospital, "name": f"Hospital {at.hospital}"}
    ),
    "Mutation.publishAgenda": mutation(
        "publishAgenda",
        lambda at, _: {
            "hospital": at.hospital, "specialty": "s", "practitioner": "p", "date": "2027-01-09", "slots": [SLOT],
        },
    ),
    "Mutation.holdSlot": mutation("holdSlot", lambda at, _: {"agenda": at.agenda, "slot": 5, "patient": at.person}),
    "Mutation.bookAppointment": mutation(
        "bookAppointment",
        lambda at, role: {
            "agenda": at.agenda, "slot": 4, "patient": at.person, "channel": at.channel.get(role, "WINDOW"),
        },
    ),
    "Mutation.cancelAppointment": mutation("cancelAppointment", lambda at, _: {"appointment": at.appointment}),
    "Mutation.checkIn": mutation("checkIn", lambda at, _: {"appointment": at.appointment}),
    "Mutation.markNoShow": mutation("markNoShow", lambda at, _: {"appointment": at.appointment}),
    "Mutation.registerPerson": mutation(
        "registerPerson",
        lambda at, _: {
            "identity": CI["Ana"] if at.person == opaque("Ana") else "8000001",
            "givenNames": "Eva", "familyNames": "Quispe", "birthDate": "1990-05-17", "sex": "F",
        },
    ),
    "Query.dependants": query("dependants(guardian: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.person}),
    "Mutation.correctPerson": mutation(
        "correctPerson",
        lambda at, role: {"person": at.person} | ({"identity": "8000002"} if role in OFFICES else {"phone": "7000000"}),
    ),
    "Mutation.declareDependant": mutation(
        "declareDependant", lambda at, _: {"guardian": at.person, "dependant": opaque("Juan"), "relation": "CARE"}
    ),
    "Mutation.confirmDependant": mutation(
        "confirmDependant", lambda at, _: {"guardian": at.person, "dependant": opaque("Eva"), "relation": "CARE"}
    ),
    "Mutation.endDependency": mutation(
        "endDependency", lambda at, _: {"guardian": at.person, "dependant": opaque("Eva")}
    ),
    "Mutation.erasePerson": mutation("erasePerson", lambda at, _: {"person": at.person}),
    "Query.node line": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.line}),
    "Query.node turn": query("node(id: $id)", "$id: ID!", "id", lambda at: {"id": at.turn}),
    "Query.line": query("line(id: $id)", "$id: ID!", "id", lambda at: {"id": at.line}),
    "Query.turn": query("turn(id: $id)", "$id: ID!", "id", lambda at: {"id": at.turn}),
    "Query.servicePoints": query("servicePoints(first: 1)", "", NODES, lambda at: {}),
    "Query.lines": query(
        'lines(servicePoint: $p, onOrAfter: "2027-01-04", first: 1)', "$p: ID!", NODES,
        lambda at: {"p": at.line.partition("/")[0]},
    ),
    "Query.turns": query("turns(person: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.person}),
    "Query.lineTurns": query("lineTurns(line: $id, first: 1)", "$id: ID!", NODES, lambda at: {"id": at.line}),
    "Query.lineFigures": query("lineFigures(line: $id)", "$id: ID!", "waiting", lambda at: {"id": at.line}),
    "Query.lineHistory": query(
        'lineHistory(servicePoint: $p, onOrAfter: "2027-01-04", to: "2027-01-05")', "$p: ID!", "date",
        lambda at: {"p": at.line.partition("/")[0]},
    ),
    "Mutation.registerServicePoint": mutation(
        "registerServicePoint", lambda at, _: {"servicePoint": at.line.partition("/")[0], "name": "Oficina"}
    ),
    "Mutation.openLine": mutation(
        "openLine",
        lambda at, _: {
            "servicePoint": at.line.partition("/")[0], "service": "taxes", "date": "2027-01-09", "counters": [1],
            "opensAt": "2027-01-09T11:00:00Z", "closesAt": "2027-01-09T20:00:00Z",
        },
    ),
    "Mutation.takeTurn": mutation(
        "takeTurn",
        lambda at, role: {
            "line": at.line, "person": at.person, "channel": "WEB" if role in ("citizen", "developer") else "COUNTER",
        },
    ),
    "Mutation.callNext": mutation("callNext", lambda at, _: {"line": at.line, "counter": 1}),
    "Mutation.callTurn": mutation("callTurn", lambda at, _: {"turn": at.turn, "counter": 2}),
    **{
        f"Mutation.{name}": mutation(name, lambda at, _: {"line": at.line, "counter": 1})
        for name in ("pauseCounter", "resumeCounter")
    },
    **{
        f"Mutation.{name}": mutation(name, lambda at, _: {"turn": at.turn})
        for name in ("recall", "startService", "finishService", "markAbsent", "requeueAbsent")
    },
    "Mutation.askNotice": mutation("askNotice", lambda at, _: {"turn": at.turn, "ahead": 1}),
    "Mutation.transferTurn": mutation(
        "transferTurn", lambda at, _: {"turn": at.turn, "to": at.line.replace("cadastre", "taxes")}
    ),
    "Mutation.leaveLine": mutation("leaveLine", lambda at, _: {"turn": at.turn}),
    "Mutation.closeLine": mutation("closeLine", lambda at, _: {"line": at.line}),
    "Subscription.line": lambda at, _: (f'subscription {{ line(id: "{at.line}") {{ position }} }}', {}),
    "Subscription.turn": lambda at, _: (f'subscription {{ turn(id: "{at.turn}") {{ position }} }}', {}),
    "Subscription.agenda": lambda at, _: (f'subscription {{ agenda(id: "{at.agenda}") {{ position }} }}', {}),
    "Subscription.appointment": lambda at, _: (
        f'subscription {{ appointment(id: "{at.appointment}") {{ position }} }}', {},
    ),
}  # fmt: skip


# What an actor may ask may be ruled out all the same, by what is so or what others did before them here.
RULED_OUT = {
    "Mutation.holdSlot": {"already_seen_here"},
    "Mutation.bookAppointment": {"already_seen_here", "slot_taken"},
    "Mutation.checkIn": {"not_its_day"},
    "Mutation.markNoShow": {"not_begun_yet"},
    "Mutation.registerPerson": {"identity_taken"},
    "Mutation.registerServicePoint": {"service_point_exists"},
    "Mutation.takeTurn": {"has_a_turn"},
    "Mutation.callNext": {"counter_busy"},
    "Mutation.callTurn": {"counter_busy", "turn_elsewhere"},
    "Mutation.transferTurn": {"has_a_turn", "turn_elsewhere"},
    **{
        f"Mutation.{name}": {"turn_elsewhere"}
        for name in ("recall", "startService", "finishService", "markAbsent", "requeueAbsent")
    },
    "Mutation.removeWebhook": {"webhook_unknown"},
    "Mutation.resendDelivery": {"webhook_unknown"},
}


def roots() -> list[str]:
    kinds = (schema._schema.query_type, schema._schema.mutation_type, schema._schema.subscription_type)
    return [f"{kind.name}.{name}" for kind in kinds if kind for name in kind.fields]


def promised() -> dict[str, dict[str, str]]:
    """The table of the docs: what each actor may ask of each field; "" for nothing."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in takewhile(bool, DOCS.read_text(encoding="utf-8").partition("| field ")[2].split("\n"))
    ]
    roles = rows[0]
    assert set(roles) <= set(ROLES)
    found = {}
    for name, *cells in rows[2:]:
        some = {} if cells[0].startswith(("everybody", "as ")) else dict(zip(roles, cells, strict=True))
        found[name.strip("`")] = dict.fromkeys(ROLES, "" if some else "all") | some
    del found["Query.node"]
    for kind in get_args(Kind):
        found[f"Query.node {kind}"] = found[f"Query.{kind}"]
    return found


@pytest.fixture
async def people(core: Core, town: Town) -> None:
    """Ana and Luis have an appointment each at La Merced and at San Juan, Eva and Juan have none; slots are free.

    Both wait in a line at Sopocachi and in one at Centro. A clerk declared Eva to be in Ana's and in Luis's care.
    """
    submit = core.lane.submit
    for code in ("la-merced", "san-juan"):
        await submit(hospital(code), key(code))
    await submit(agenda(), key("agenda"))
    await submit(msgspec.structs.replace(agenda(specialty="cardiology"), hospital="san-juan"), key("other"))
    for name, ci in CI.items():
        await submit(person(name, core, ci=ci), key(name))
    for where in (AGENDA, OTHER_AGENDA):
        for name in ("Ana", "Luis"):
            await submit(visit(name, where), key(f"{where} {name}"))
    for line in (LINE, OTHER_LINE):
        point = line.partition("/")[0]
        await submit(service_point(point), key(point))
        for service in ("cadastre", "taxes"):
            await submit(open_line(point, service), key(f"{point} {service}"))
        for name in ("Ana", "Luis"):
            await submit(take(line, name), key(f"{line} {name}"))
    for name in ("Ana", "Luis"):
        said = {"guardian": opaque(name), "dependant": opaque("Eva"), "relation": "CARE"}
        await submit(build(DeclareDependant, **said, declared_by=opaque("clerk")), key(f"declare {name}"))


async def told(client: Client, name: str, role: Role, *, own: bool) -> set[str]:
    """The codes of all that went wrong when the field was asked; "null" if nothing did and nothing was answered."""
    document, variables = SAMPLES[name](place(role, own=own), role)
    client.act_as(LOGINS[role])
    if name.startswith("Subscription"):
        token = client.http.headers.get("authorization", "").encode()
        actor = await client.services.identities.actor(token)
        context = Context(client.services, actor=actor, language="es", correlation="test")
        async for answer in followed(Asked(document, variables, None), context):
            codes = {(error.extensions or {})["code"] for error in answer.errors}
            return codes if codes or answer.data else {"null"}
    answered = await client.ask(document, **variables)
    errors = [error["extensions"] for error in answered.get("errors", ())]
    payloads = list((answered.get("data") or {}).values())
    for payload in payloads:
        errors += payload.get("errors", []) if isinstance(payload, dict) else []
    return {error["code"] for error in errors} or ({"null"} if None in payloads else set())


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("name", SAMPLES)
async def test_each_field_does_for_each_actor_what_the_table_promises(client: Client, name: str, core: Core) -> None:
    for role in ROLES:
        words = promised()[name][role]
        refusal = "login_required" if role == "anonymous" else "forbidden"
        for own in (True, False):
            before = await core.log.head()
            codes = await told(client, name, role, own=own)
            if words.startswith("all") or (words and own):
                assert codes <= RULED_OUT.get(name, set()), (role, own, codes)
            else:
                assert codes == {refusal}, (role, own, codes)
                assert await core.log.head() == before


def test_each_field_has_a_sample() -> None:
    assert {name.partition(" ")[0] for name in SAMPLES} == set(roots())
    assert sorted(promised()) == sorted(SAMPLES)


def test_the_docs_show_the_table() -> None:
    assert table(RULES) in DOCS.read_text(encoding="utf-8")


def test_the_table_has_each_field_and_no_other() -> None:
    assert sorted(RULES) == sorted(roots())


@pytest.mark.parametrize("name", [name for name in roots() if RULES[name] is EVERYBODY])
def test_nothing_personal_is_reached_from_what_everybody_may_ask(name: str) -> None:
    root, field = name.split(".")
    kinds = schema._schema.type_map
    seen: set[str] = set()
    waiting: list[Any] = [get_named_type(kinds[root].fields[field].type)]  # type: ignore[attr-defined]
    while waiting:
        kind = waiting.pop()
        if kind.name in seen:
            continue
        seen.add(kind.name)
        if isinstance(kind, GraphQLInterfaceType | GraphQLUnionType):
            waiting += schema._schema.get_possible_types(kind)
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            waiting += [get_named_type(one.type) for one in kind.fields.values()]
    assert not seen & PERSONAL


@pytest.mark.anyio
async def test_a_hospitals_clerk_sees_of_a_patient_what_is_at_that_hospital(
    client: Client, people: None, core: Core
) -> None:
    document = """query ($id: ID!) { patient(id: $id) { holds { agenda } appointments(first: 9) { nodes { hospital } } }
      appointments(patient: $id, first: 9) { nodes { hospital } } }"""
    for where in (AGENDA, OTHER_AGENDA):
        wanted = {"idempotencyKey": where, "agenda": where, "slot": 6, "patient": opaque("Eva")}
        assert not (await client.data(HOLD, input=wanted | {"slot": 5 if where == AGENDA else 6}))["errors"]
    seen = {}
    for role in ("developer", "hospital_clerk"):
        client.act_as(LOGINS[role])
        ana, eva = [await client.data(document, id=opaque(name)) for name in ("Ana", "Eva")]
        assert ana["patient"]["appointments"] == ana["appointments"]
        visits = {one["hospital"] for one in ana["appointments"]["nodes"]}
        seen[role] = visits, {one["agenda"] for one in eva["patient"]["holds"]}
    assert seen["developer"] == ({"la-merced", "san-juan"}, {AGENDA, OTHER_AGENDA})
    assert seen["hospital_clerk"] == ({"la-merced"}, {AGENDA})


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("role", "channel", "code"),
    [
        ("citizen", "WEB", ""),
        ("citizen", "WINDOW", "forbidden"),
        ("hospital_clerk", "WEB", "forbidden"),
        ("hospital_clerk", "PHONE", ""),
    ],
)
async def test_everybody_books_through_their_own_channels(client: Client, role: Role, channel: str, code: str) -> None:
    client.act_as(LOGINS[role])
    wanted = {"idempotencyKey": "k", "agenda": AGENDA, "slot": 1, "patient": opaque("Ana"), "channel": channel}
    refused = (await client.data(BOOK, input=wanted))["errors"]
    assert [error["code"] for error in refused] == ([code] if code else ["slot_taken"])


async def codes(client: Client, login: Login, document: str, wanted: dict[str, Any]) -> list[str]:
    """Of a mutation by somebody, why it was refused."""
    client.act_as(login)
    answer = await client.data(document, input={"idempotencyKey": str(uuid.uuid4()), **wanted})
    return [error["code"] for error in answer["errors"]]


async def hospitals(client: Client, login: Login, *names: str) -> list[set[str]]:
    """Where each of these has appointments, as somebody sees them who asks for all at once."""
    fields = [f'p{n}: patient(id: "{opaque(name)}") {{ {VISITS} }}' for n, name in enumerate(names)]
    client.act_as(login)
    seen = (await client.ask(f"{{ {' '.join(fields)} }}"))["data"]
    return [{visit["hospital"] for visit in patient["appointments"]["nodes"]} for patient in seen.values()]


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_the_log_says_who_it_was(client: Client, town: Town) -> None:
    logins = {
        "Eva": Login(subject="eva", identity=CI["Eva"], client="phone-app"),
        "Juan": Login(subject="rosa", roles=["hospital_clerk"], hospitals=["la-merced"], client="window"),
    }
    for slot, (name, login) in enumerate(logins.items(), start=5):
        client.act_as(login)
        wanted = {"idempotencyKey": "k", "agenda": AGENDA, "slot": slot, "patient": opaque(name)}
        assert not (await client.data(HOLD, input=wanted))["errors"]
    said = town.execute("SELECT actor FROM event_log WHERE event = 'hold_taken.v1' ORDER BY position")
    (citizen,), (clerk,) = said
    assert clerk == "hospital_clerk rosa window"
    assert re.fullmatch(rf"citizen:{opaque('Eva')} [a-z2-7]{{26}} phone-app", str(citizen))


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_who_works_for_the_city_and_comes_as_a_citizen_is_logged_as_one(client: Client, town: Town) -> None:
    client.act_as(Login(subject="rosa@city.bo", roles=["hospital_clerk"], hospitals=["la-merced"], identity=CI["Eva"]))
    for slot, name in ((5, "Eva"), (6, "Juan")):
        wanted = {"idempotencyKey": name, "agenda": AGENDA, "slot": slot, "patient": opaque(name)}
        assert not (await client.data(HOLD, input=wanted))["errors"]
    (private,), (at_work,) = town.execute("SELECT actor FROM event_log WHERE event = 'hold_taken.v1' ORDER BY position")
    assert re.fullmatch(rf"citizen:{opaque('Eva')} [a-z2-7]{{26}} -", str(private))
    assert at_work == "hospital_clerk rosa@city.bo -"


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (ERASE, {"person": opaque("Ana")}),
        (CANCEL, {"appointment": visit("Ana", AGENDA).appointment}),
        (HOLD, {"agenda": AGENDA, "slot": 5, "patient": opaque("Ana")}),
    ],
)
async def test_whoever_bears_a_number_no_longer_does_nothing_as_who_they_were(
    client: Client, core: Core, document: str, wanted: dict[str, Any]
) -> None:
    client.act_as(LOGINS["citizen"])
    token = client.http.headers["authorization"]
    shown = "query ($id: ID!) { person(id: $id) { givenNames } }"
    assert await client.data(shown, id=opaque("Ana")) == {"givenNames": "Ana"}
    client.act_as(LOGINS["developer"])
    new = {"idempotencyKey": "c", "person": opaque("Ana"), "identity": "8888888"}
    assert (await client.data(CORRECT, input=new))["errors"] == []
    before = await core.log.head()
    client.http.headers["authorization"] = token
    refused = (await client.data(document, input={"idempotencyKey": "k", **wanted}))["errors"]
    assert ([error["code"] for error in refused], await core.log.head()) == (["forbidden"], before)


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_whoever_was_erased_and_comes_again_is_not_logged_as_who_they_were(client: Client, town: Town) -> None:
    client.act_as(Login(subject="eva", identity=CI["Eva"]))
    assert (await client.data(ERASE, input={"idempotencyKey": "e", "person": opaque("Eva")}))["errors"] == []
    wanted = {"idempotencyKey": "k", "identity": CI["Eva"], "givenNames": "Eva", "familyNames": "Q",
              "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    new = (await client.data(REGISTER, input=wanted))["person"]["id"]
    held = {"idempotencyKey": "h", "agenda": AGENDA, "slot": 5, "patient": new}
    assert (await client.data(HOLD, input=held))["errors"] == []
    said = town.execute("SELECT event, actor FROM event_log ORDER BY position DESC LIMIT 4")
    logged = {str(event): str(actor).split()[0] for event, actor in said}
    assert (logged["hold_taken.v1"], logged["person_registered.v1"]) == (f"citizen:{new}", "citizen")


@pytest.mark.anyio
async def test_a_login_that_is_called_like_a_part_of_the_program_has_its_own_keys(client: Client, core: Core) -> None:
    await core.lane.submit(hospital("la-merced"), key("k", actor="import"))
    client.act_as(Login(subject="import", roles=["administrator"]))
    document, variables = SAMPLES["Mutation.registerHospital"](place("administrator", own=False), "administrator")
    variables["input"]["idempotencyKey"] = "k"
    assert (await client.data(document, **variables))["errors"] == []


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_one_persons_key_is_not_another_ones(client: Client) -> None:
    wanted = {"idempotencyKey": "k", "agenda": AGENDA, "slot": 5}
    client.act_as(Login(subject="eva", identity=CI["Eva"]))
    first = await client.data(HOLD, input=wanted | {"patient": opaque("Eva")})
    client.act_as(Login(subject="juan", identity=CI["Juan"]))
    second = await client.data(HOLD, input=wanted | {"patient": opaque("Juan")})
    assert (first["errors"], [error["code"] for error in second["errors"]]) == ([], ["slot_taken"])


@pytest.mark.anyio
async def test_a_citizen_registers_and_is_known_from_then_on(client: Client) -> None:
    client.act_as(Login(subject="rita", identity="9000001"))
    wanted = {"idempotencyKey": "k", "identity": "9000001 LP", "givenNames": "Rita", "familyNames": "Quispe",
              "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    made = await client.data(REGISTER, input=wanted)
    assert made["errors"] == []
    assert (await client.data("query ($id: ID!) { person(id: $id) { givenNames } }", id=made["person"]["id"])) == {
        "givenNames": "Rita"
    }


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_a_guardian_acts_for_a_dependant_from_an_officers_word_to_the_18th_birthday(
    client: Client, core: Core, clock: Clock
) -> None:
    child = msgspec.structs.replace(person("Sol", core, ci="9100001"), birth_date=date(2009, 1, 8))
    await core.lane.submit(child, key("Sol"))
    pair = {"guardian": opaque("Eva"), "dependant": opaque("Sol")}
    eva = Login(subject="eva", identity=CI["Eva"])

    async def booked(slot: int, login: Login = eva) -> list[str]:
        return await codes(client, login, HOLD, {"agenda": AGENDA, "slot": slot, "patient": opaque("Sol")})

    assert await booked(5) == ["forbidden"]
    assert await codes(client, Login(subject="juan", identity=CI["Juan"]), DECLARE, pair | {"relation": "MINOR"}) == [
        "forbidden"
    ]
    assert await codes(client, eva, DECLARE, pair | {"relation": "MINOR"}) == []
    assert await booked(5) == ["forbidden"]
    assert await codes(client, eva, CONFIRM, pair | {"relation": "MINOR"}) == ["forbidden"]
    assert await codes(client, OFFICER, CONFIRM, pair | {"relation": "MINOR"}) == []
    assert await booked(5, Login(subject="juan", identity=CI["Juan"])) == ["forbidden"]
    assert await booked(5) == []
    assert (await client.data("query ($id: ID!) { person(id: $id) { givenNames } }", id=opaque("Sol"))) == {
        "givenNames": "Sol"
    }
    clock.wait(4 * 86_400)  # it is the 8th
    assert await booked(5) == ["forbidden"]


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(("field", "code"), [("phone", ""), ("identity", "forbidden"), ("birthDate", "forbidden")])
async def test_citizens_correct_how_to_reach_them_and_not_who_they_are(client: Client, field: str, code: str) -> None:
    client.act_as(LOGINS["citizen"])
    new = {"phone": "70000001", "identity": "8000009", "birthDate": "1991-01-01"}[field]
    wanted = {"idempotencyKey": "k", "person": opaque("Ana"), field: new}
    assert [error["code"] for error in (await client.data(CORRECT, input=wanted))["errors"]] == ([code] if code else [])


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_nobody_who_works_here_gives_somebody_their_own_number(client: Client) -> None:
    """Whoever bears it is that person, with all their appointments and their right to be forgotten."""
    own, new = {"person": opaque("Ana"), "identity": "1231231"}, {"person": opaque("Ana"), "identity": "8000003"}
    contact = {"person": opaque("Ana"), "phone": "70000001"}
    for role in ("hospital_clerk", "counter_clerk"):
        clerk = Login(subject="c", roles=[role], hospitals=["la-merced"], identity="1231231")
        assert [await codes(client, clerk, CORRECT, wanted) for wanted in (own, new)] == [["forbidden"]] * 2
        assert await codes(client, clerk, CORRECT, contact | {"givenNames": "Anita"}) == []
    for role in OFFICES:
        officer = Login(subject="o", roles=[role], identity="1231231 LP")
        for wanted in (own, contact, new | {"phone": "70000001"}, {"person": opaque("Ana")}):
            assert await codes(client, officer, CORRECT, wanted) == ["forbidden"]
        assert await codes(client, officer, CORRECT, new) == []
        assert await codes(client, officer, CORRECT, new | {"identity": "none"}) == ["invalid_input"]
        assert await codes(client, officer, ERASE, {"person": opaque("Ana")}) == (
            [] if role == "administrator" else ["forbidden"]
        )


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_an_officer_confirms_nothing_of_their_own(client: Client) -> None:
    pair = {"guardian": opaque("Ana"), "dependant": opaque("Eva"), "relation": "CARE"}
    for name, code in (("Ana", ["forbidden"]), ("Eva", ["forbidden"]), ("Juan", [])):
        officer = Login(subject=f"o-{name}", roles=["procedures_officer"], identity=CI[name])
        assert await codes(client, officer, CONFIRM, pair) == code


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_an_officer_confirms_nothing_that_the_same_login_declared(client: Client) -> None:
    both = Login(subject="both", roles=["counter_clerk", "procedures_officer"])
    pair = {"guardian": opaque("Juan"), "dependant": opaque("Eva"), "relation": "CARE"}
    assert await codes(client, both, DECLARE, pair) == []
    assert await codes(client, both, CONFIRM, pair) == ["declared_by_yourself"]
    assert await codes(client, OFFICER, CONFIRM, pair) == []


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_who_was_erased_has_no_guardian(client: Client) -> None:
    ana = Login(subject="ana", identity=CI["Ana"])
    luis = Login(subject="luis", identity=CI["Luis"])
    pair = {"guardian": opaque("Luis"), "dependant": opaque("Ana"), "relation": "CARE"}
    assert await codes(client, luis, DECLARE, pair) == []
    assert await codes(client, OFFICER, CONFIRM, pair) == []
    cancelled = {"appointment": visit("Ana", AGENDA).appointment}
    assert await hospitals(client, luis, "Ana") == [{"la-merced", "san-juan"}]
    assert await codes(client, ana, ERASE, {"person": opaque("Ana")}) == []
    client.act_as(luis)
    answer = await client.ask("query ($id: ID!) { patient(id: $id) { id } }", id=opaque("Ana"))
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["forbidden"]
    assert await codes(client, luis, CANCEL, cancelled) == ["forbidden"]


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_a_clerk_corrects_a_birth_date_and_the_grown_up_has_no_guardian(client: Client, core: Core) -> None:
    child = msgspec.structs.replace(person("Sol", core, ci="9100001"), birth_date=date(2015, 1, 8))
    await core.lane.submit(child, key("Sol"))
    eva = Login(subject="eva", identity=CI["Eva"])
    wanted = {"guardian": opaque("Eva"), "dependant": opaque("Sol"), "relation": "MINOR"}
    assert await codes(client, eva, DECLARE, wanted) + await codes(client, OFFICER, CONFIRM, wanted) == []
    assert await hospitals(client, eva, "Sol") == [set()]
    clerk = Login(subject="c", roles=["counter_clerk"])
    assert await codes(client, clerk, CORRECT, {"person": opaque("Sol"), "birthDate": "2005-01-08"}) == []
    hold = {"agenda": AGENDA, "slot": 5, "patient": opaque("Sol")}
    assert await codes(client, eva, HOLD, hold) == ["forbidden"]


@pytest.mark.anyio
async def test_a_registration_that_is_repeated_shows_nobody_elses_data(client: Client) -> None:
    rita = Login(subject="rita", identity="9000001")
    wanted = {"idempotencyKey": "k", "identity": "9000001", "givenNames": "Rita", "familyNames": "Quispe",
              "birthDate": "1990-05-17", "sex": "F"}  # fmt: skip
    client.act_as(rita)
    made = await client.data(REGISTER, input=wanted)
    assert await client.data(REGISTER, input=wanted) == made
    number = {"person": made["person"]["id"], "identity": "7777777"}
    assert await codes(client, OFFICER, CORRECT, number) == []
    client.act_as(rita)
    assert await client.data(REGISTER, input=wanted) == {"person": None, "errors": []}


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_a_refusal_tells_a_clerk_of_no_other_hospital(client: Client, core: Core) -> None:
    document = """mutation ($input: HoldSlotInput!) { holdSlot(input: $input) {
      errors { __typename code ... on VisitConflict { appointment } } } }"""
    elsewhere = booking(5, "Eva", agenda=OTHER_AGENDA)
    await core.lane.submit(elsewhere, key("Eva at San Juan"))
    told = {}
    for role in ("hospital_clerk", "developer"):
        client.act_as(LOGINS[role])
        wanted = {"idempotencyKey": "k", "agenda": AGENDA, "slot": 5, "patient": opaque("Eva")}
        (told[role],) = (await client.data(document, input=wanted))["errors"]
    assert told["hospital_clerk"] == {"__typename": "Refused", "code": "visits_overlap"}
    assert told["developer"] == {
        "__typename": "VisitConflict", "code": "visits_overlap", "appointment": elsewhere.appointment,
    }  # fmt: skip


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_a_refusal_tells_a_clerk_of_their_own_hospital(client: Client) -> None:
    document = """mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
      errors { code ... on VisitConflict { appointment } } } }"""
    client.act_as(LOGINS["hospital_clerk"])
    wanted = {"agenda": AGENDA, "slot": 5, "patient": opaque("Ana"), "channel": "WINDOW"}
    assert (await client.data(document, input={"idempotencyKey": "k", **wanted}))["errors"] == [
        {"code": "already_seen_here", "appointment": visit("Ana", AGENDA).appointment}
    ]


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("login", "reason", "code"),
    [
        (LOGINS["citizen"], "AUTHORITY", ["forbidden"]),
        (LOGINS["citizen"], "GUARDIAN", []),
        (Login(subject="eva", identity=CI["Eva"]), "AUTHORITY", ["forbidden"]),
        (Login(subject="eva", identity=CI["Eva"]), "DEPENDANT", []),
        (OFFICER, "AUTHORITY", []),
    ],
)
async def test_no_citizen_is_an_authority(client: Client, login: Login, reason: str, code: list[str]) -> None:
    pair = {"guardian": opaque("Ana"), "dependant": opaque("Eva")}
    assert await codes(client, login, END, pair | {"reason": reason}) == code


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_who_works_here_and_is_a_citizen_has_each_right_where_it_is_theirs(client: Client) -> None:
    both = Login(subject="b", roles=["hospital_clerk"], identity=CI["Ana"], hospitals=["la-merced"])
    all_of_them = {"la-merced", "san-juan"}
    assert await hospitals(client, both, *["Ana", "Luis"] * 4) == [all_of_them, {"la-merced"}] * 4
    hold = {"agenda": OTHER_AGENDA, "slot": 5}
    assert await codes(client, both, HOLD, hold | {"patient": opaque("Luis")}) == ["forbidden"]
    assert await codes(client, both, HOLD, hold | {"patient": opaque("Ana")}) == ["already_seen_here"]
    for channel, name, code in (
        ("WEB", "Luis", "forbidden"),
        ("WEB", "Ana", "slot_taken"),
        ("PHONE", "Luis", "slot_taken"),
    ):
        wanted = {"agenda": AGENDA, "slot": 1, "patient": opaque(name), "channel": channel}
        assert await codes(client, both, BOOK, wanted) == [code]
    assert await codes(client, both, CORRECT, {"person": opaque("Ana"), "identity": "8000004"}) == ["forbidden"]
    assert await codes(client, both, ERASE, {"person": opaque("Luis")}) == ["forbidden"]


@pytest.mark.anyio
@pytest.mark.usefixtures("people")
async def test_in_one_request_each_field_is_asked_in_its_own_role(client: Client) -> None:
    """A clerk is a citizen, too: of herself she sees all, of others what is at her hospital."""
    client.act_as(Login(subject="ana", identity=CI["Ana"], roles=["hospital_clerk"], hospitals=["la-merced"]))
    visits = "patient(id: $%s) { appointments(first: 9) { nodes { hospital } } }"
    document = "query ($ana: ID!, $luis: ID!) { " + " ".join(
        f"{name}{number}: {visits % name}" for number in range(7) for name in ("luis", "ana")
    ) + " }"  # fmt: skip
    for _ in range(2):  # by the library, and by a plan
        found = await client.data(document, ana=opaque("Ana"), luis=opaque("Luis"))
        for name, patient in found.items():
            hospitals = {visit["hospital"] for visit in patient["appointments"]["nodes"]}
            assert hospitals == ({"la-merced", "san-juan"} if name.startswith("ana") else {"la-merced"}), name
