"""The rule for every id and code that the schema takes, found in the schema itself.

A malformed one is refused as `invalid_input` with its path and a hint that shows a right one. A well-formed one that
nothing has is null in a query, an empty list in a query of a list, and a refusal that says so in a mutation or a
subscription. Only codes that agendas may use without a registration are shown, without a name.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    get_named_type,
    is_required_argument,
    is_required_input_field,
)

from api.graphql.context import Context
from api.graphql.engine.execution import Asked, Engine
from api.graphql.schema import schema
from tests.api.conftest import Client

pytestmark = pytest.mark.anyio

ROOTS = [
    kind for kind in (schema._schema.query_type, schema._schema.mutation_type, schema._schema.subscription_type) if kind
]
# Strings that are neither ids nor codes. An argument or a field of an input with another name is held to the rule.
TEXTS = {
    "address", "after", "before", "cadastralCode", "country", "deed", "description", "district", "document",
    "email", "evidence", "familyNames", "givenNames", "idempotencyKey", "identity", "name", "nit", "norm", "number",
    "phone", "place", "reason", "reference", "resolution", "search", "statement", "url",
}  # fmt: skip
WITHOUT_REGISTRATION = ("availability", "specialty", "practitioner")
PERSON, OTHER = "a" * 26, "b" * 26
ORGANISATION = f"org-{OTHER}"
AGENDA, LINE = "la-merced/2027-01-15/p-0012", "sopocachi/cadastre/2027-01-15"
# Well-formed ids and codes that nothing has, by the name of their argument or, for `id` and `code`, of the root field.
RIGHT = {
    "agenda": AGENDA,
    "amendment": PERSON,
    "appointment": f"{AGENDA}/{PERSON}",
    "delivery": "sms-gateway/1607",
    "dependant": f"{PERSON}/{OTHER}",
    "infraction": f"1234abc/{PERSON}",
    "line": LINE,
    "plate": "1234 ABC",
    "node": "hospital:la-merced",
    "organisation": ORGANISATION,
    "representation": f"{ORGANISATION}/{PERSON}",
    "obligation": "vehicle-1234abc/year-2026",
    **dict.fromkeys(("object", "taxableObject"), "vehicle-1234abc"),
    "to": LINE.replace("cadastre", "taxes"),
    "turn": f"{LINE}/{PERSON}",
    "webhook": "sms-gateway",
    **dict.fromkeys(("guardian", "owner", "patient", "person", "representative", "taxpayer"), PERSON),
}
SAMPLES = {
    "identity": "4820193",
    "name": "Ana",
    "nit": "1023467024",
    "number": "1234",
    "cadastralCode": "032-0123-0004",
    "givenNames": "Ana",
    "familyNames": "Mamani",
    "url": "https://example.org/hook",
}
SCALARS = {
    "Int": 1,
    "Float": 1.0,
    "Boolean": True,
    "Position": "1",
    "Decimal": "10.00",
    "Date": "2027-01-15",
    "Instant": "2027-01-15T12:00:00Z",
}
BROKEN = ["", " ", "*", "La-Merced", "../" * 9, "'; DROP TABLE events", "QWdlbmRhOjE=", "\0", "\ud800", "é" * 10_000]


class Place(NamedTuple):
    """An id or a code that a root field takes: its path there, such as ("input", "patient")."""

    root: str
    field: str
    path: tuple[str, ...]
    type: Any

    def __str__(self) -> str:
        return f"{self.root}.{self.field}({'.'.join(self.path)})"

    @property
    def right(self) -> str:
        return right(self.path[-1], self.field)


def right(name: str, field: str) -> str:
    if name == "dependant" and field != "dependant":
        return OTHER
    return RIGHT.get(field if name in ("id", "code") else name, "la-merced")


def places() -> Iterator[Place]:
    for root in ROOTS:
        for field, of in root.fields.items():
            for name, argument in of.args.items():
                yield from _within(Place(root.name, field, (name,), argument.type))


def _within(place: Place) -> Iterator[Place]:
    kind = get_named_type(place.type)
    if isinstance(kind, GraphQLInputObjectType):
        for name, field in kind.fields.items():
            yield from _within(place._replace(path=(*place.path, name), type=field.type))
    elif kind.name in ("ID", "String") and place.path[-1] not in TEXTS:
        yield place


PLACES = list(places())


def a_value(kind: Any, name: str, field: str) -> Any:
    """A value of a type, for the argument or field of this name."""
    if isinstance(kind, GraphQLNonNull):
        return a_value(kind.of_type, name, field)
    if isinstance(kind, GraphQLList):
        return [a_value(kind.of_type, name, field)]
    if isinstance(kind, GraphQLInputObjectType):
        return {part: a_value(of.type, part, field) for part, of in kind.fields.items() if is_required_input_field(of)}
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    if kind.name == "ID" or (kind.name == "String" and name not in TEXTS):
        return right(name, field)
    return SAMPLES.get(name, "k") if kind.name == "String" else SCALARS[kind.name]


def request(place: Place, value: str) -> tuple[str, dict[str, Any]]:
    """A document with its variables that asks the field with this value at the place."""
    root = next(one for one in ROOTS if one.name == place.root)
    field = root.fields[place.field]
    wanted = {name for name, one in field.args.items() if is_required_argument(one)} | {place.path[0]}
    if "first" in field.args:
        wanted.add("first")
    variables = {name: a_value(field.args[name].type, name, place.field) for name in wanted}
    within: Any = variables
    for step in place.path[:-1]:
        within = within[step]
    within[place.path[-1]] = [value] if isinstance(get_nullable(place.type), GraphQLList) else value
    declared = ", ".join(f"${name}: {field.args[name].type}" for name in wanted)
    given = ", ".join(f"{name}: ${name}" for name in wanted)
    selected = "{ errors { code path message } }" if place.root == "Mutation" else "{ __typename }"
    if get_named_type(field.type).name.endswith("Connection"):
        selected = "{ nodes { __typename } }"
    return f"{place.root.lower()} ({declared}) {{ {place.field}({given}) {selected} }}", variables


def get_nullable(kind: Any) -> Any:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


async def answered(client: Client, place: Place, value: str, language: str = "en") -> tuple[Any, list[dict[str, Any]]]:
    """What the field answers, and all errors: code, path and message."""
    document, variables = request(place, value)
    if place.root == "Subscription":
        actor = await client.services.identities.actor(client.http.headers["authorization"].encode())
        context = Context(client.services, actor=actor, language="es" if language == "es" else "en", correlation="test")
        async for answer in Engine(schema).followed(Asked(document, variables, None), context):
            return None, [{"message": one.message, **(one.extensions or {})} for one in answer.errors]
        raise AssertionError("no answer")
    body = await client.ask(document, language=language, **variables)
    errors = [{"message": one["message"], **one["extensions"]} for one in body.get("errors", ())]
    data = (body.get("data") or {}).get(place.field)
    if place.root == "Mutation" and data:
        errors += data["errors"]
    return data, errors


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_a_malformed_one_is_invalid_input_with_a_hint(client: Client, place: Place) -> None:
    path = list(place.path[1:] if place.root == "Mutation" else place.path)
    if isinstance(get_nullable(place.type), GraphQLList):
        path.append("0")
    for value in (*BROKEN, f"{place.right}\n", f"{place.right}/"):
        _, (error,) = await answered(client, place, value)
        assert (error["code"], error["path"]) == ("invalid_input", path), value
        assert error["message"].startswith("Invalid value: ")
    for language, example in (("en", " like "), ("es", ", como ")):
        _, (error,) = await answered(client, place, "*", language)
        assert example in error["message"]


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_an_unknown_one_is_not_invalid_input(client: Client, place: Place) -> None:
    data, errors = await answered(client, place, place.right)
    if place.root == "Query":
        assert errors == []
        assert data in (None, [], {"nodes": []}) or place.field in WITHOUT_REGISTRATION
    else:
        path = list(place.path[1:] if place.root == "Mutation" else place.path)
        assert ("invalid_input", path) not in [(error["code"], error.get("path")) for error in errors]


@pytest.mark.parametrize("place", [place for place in PLACES if "2027-01-15" in place.right], ids=str)
async def test_a_date_that_does_not_exist_is_no_failure(client: Client, place: Place) -> None:
    for day in ("9999-99-99", "2027-02-30", "0000-00-00"):
        data, errors = await answered(client, place, place.right.replace("2027-01-15", day))
        assert "internal_error" not in {error["code"] for error in errors}, day
        assert errors or data is None or data == {"nodes": []}
