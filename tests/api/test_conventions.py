"""What docs/api.md promises of the schema, looked for in the schema itself, and in one that breaks every promise."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from graphql import (
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    get_nullable_type,
    is_enum_type,
    is_introspection_type,
    is_list_type,
    is_scalar_type,
    is_specified_scalar_type,
)

from api.graphql.schema import schema
from api.web.markdown import page
from api.web.pages import ROOT, documents

# Lists that are no connections, by field, "*" for one of any type: what keeps each of them short.
BOUNDED = {
    "*.errors": "the reasons of one refusal",
    "*.path": "names within one input",
    "AccountStatement.byObject": "domain.obligations.statement.OBLIGATIONS_MAX",
    "AccountStatement.byYear": "domain.obligations.statement.OBLIGATIONS_MAX",
    "Amnesty.windows": "domain.obligations.tax_year.WINDOWS_MAX",
    "Agenda.quotas": "one for each channel",
    "Availability.days": "api.graphql.appointments.views.DAYS_MAX",
    "DebtExplanation.periods": "domain.obligations.interest.RATES_MAX",
    "DebtExplanation.reductions": "the days with payments of one obligation",
    "Holidays.days": "domain.obligations.holidays.DAYS_MAX",
    "InterestRates.rates": "domain.obligations.interest.RATES_MAX",
    "InfractionDebtExplanation.payments": "domain.infractions.settling.RECEIPTS_MAX",
    "Infraction.receipts": "domain.infractions.settling.RECEIPTS_MAX",
    "InfractionTerms.discounts": "domain.infractions.terms.DISCOUNTS_MAX",
    "Line.classes": "the three classes",
    "Line.counters": "domain.queues.opening.COUNTERS_MAX",
    "Line.lastCalls": "domain.queues.line.LAST_CALLS_MAX",
    "Line.next": "api.graphql.queues.lines.NEXT_SHOWN",
    "LineFigures.hours": "the hours of a day",
    "LinePolicy.order": "the three classes",
    "Delivery.history": "projections.webhooks.deliveries.HISTORY_MAX",
    "Obligation.amendments": "those of one obligation that nobody has decided",
    "Obligation.settlements": "the payments of one obligation",
    "Patient.holds": "domain.appointments.patient: two live holds",
    "Practitioner.specialties": "domain.appointments.practitioner.SPECIALTIES_MAX",
    "Query.amnesties": "the norms that declare one for a tax",
    "Query.interestRates": "the norms that changed them",
    "Query.scales": "the norms that changed the scale of a tax",
    "Query.ufvQuotes": "the days of a year",
    "PublishInfractionPaymentPlacesPayload.places": "domain.infractions.places.PLACES_MAX",
    "Query.infractionPaymentPlaces": "domain.infractions.places.PLACES_MAX",
    "Query.infractionTotals": "api.graphql.infractions.lists.FIGURES_MAX",
    "Query.lineHistory": "projections.queues.line_figures.HISTORY_DAYS_MAX days of a service point's services",
    "Query.webhooks": "domain.webhooks.registration.WEBHOOKS_MAX",
    "Query.utilisation": "api.graphql.appointments.views.WEEKS_MAX weeks of a hospital's specialties",
    "Reduction.receipts": "the payments of a day",
    "Scale.steps": "domain.obligations.scale.STEPS_MAX",
    "SlotTaken.alternatives": "domain.appointments.availability.ALTERNATIVES_MAX",
    "TaxableObject.owners": "the owners that one object had",
    "TaxYear.windows": "domain.obligations.tax_year.WINDOWS_MAX",
    "Viewer.roles": "api.access.identity.ROLES",
    "Viewer.hospitals": "api.access.identity.SCOPES_MAX",
    "Viewer.servicePoints": "api.access.identity.SCOPES_MAX",
    "Webhook.kinds": "domain.outbox.MESSAGES",
}

DEPRECATION = re.compile(r"Use `([^`]+)`; to be removed on ([0-9]{4}-[0-9]{2}-[0-9]{2}) or later\.")


def own_types(schema: GraphQLSchema) -> list[GraphQLNamedType]:
    return [
        kind
        for kind in schema.type_map.values()
        if not is_introspection_type(kind) and not is_specified_scalar_type(kind)
    ]


def places(schema: GraphQLSchema) -> Iterator[tuple[str, Any]]:
    """Every type, field, argument, input field and value of an enum, by the name that graphql-core gives it."""
    for kind in own_types(schema):
        yield kind.name, kind
        for name, part in (getattr(kind, "fields", None) or getattr(kind, "values", {})).items():
            yield f"{kind.name}.{name}", part
            for argument, of in getattr(part, "args", {}).items():
                yield f"{kind.name}.{name}({argument}:)", of


def output_fields(schema: GraphQLSchema) -> Iterator[tuple[str, str, Any]]:
    for kind in own_types(schema):
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for name, field in kind.fields.items():
                yield kind.name, name, field


def undescribed(schema: GraphQLSchema) -> list[str]:
    return [place for place, thing in places(schema) if not thing.description]


PAGE_ARGUMENTS = {"first": "Int", "after": "String", "last": "Int", "before": "String"}
PAGE_INFO = {"hasNextPage": "Boolean!", "hasPreviousPage": "Boolean!", "startCursor": "String", "endCursor": "String"}


def unpaged(schema: GraphQLSchema) -> list[str]:
    """Lists that may be long and have no pages, and connections that differ from those of Relay."""
    wrong = []
    for kind, name, field in output_fields(schema):
        arguments = {argument: str(of.type) for argument, of in field.args.items()}
        if get_named_type(field.type).name.endswith("Connection"):
            if {one: arguments.get(one) for one in PAGE_ARGUMENTS} != PAGE_ARGUMENTS:
                wrong.append(f"{kind}.{name} does not take first, after, last and before")
        elif is_list_type(get_nullable_type(field.type)):
            of_connection = kind.endswith("Connection") and name in ("nodes", "edges")
            if not of_connection and not {f"{kind}.{name}", f"*.{name}"} & set(BOUNDED):
                wrong.append(f"{kind}.{name} is a list without pages")
        elif set(arguments) & set(PAGE_ARGUMENTS) - {"after"}:  # a live field resumes `after` a position
            wrong.append(f"{kind}.{name} takes arguments of a list and gives no connection")
        wrong += [f"{kind}.{name} takes {other}" for other in ("limit", "offset") if other in arguments]
    for of in own_types(schema):
        fields = {name: str(field.type) for name, field in getattr(of, "fields", {}).items()}
        item = of.name.removesuffix("Connection").removesuffix("Edge")
        if of.name.endswith("Connection") and fields != {
            "edges": f"[{item}Edge!]!", "nodes": f"[{item}!]!", "pageInfo": "PageInfo!"
        }:  # fmt: skip
            wrong.append(f"{of.name} has not edges, nodes and pageInfo")
        if of.name.endswith("Edge") and fields != {"node": f"{item}!", "cursor": "String!"}:
            wrong.append(f"{of.name} has not node and cursor")
        if of.name == "PageInfo" and fields != PAGE_INFO:
            wrong.append("PageInfo is not Relay's")
    return wrong


def wrong_mutations(schema: GraphQLSchema) -> list[str]:
    wrong = []
    payloads = set()
    for name, field in schema.mutation_type.fields.items() if schema.mutation_type else ():
        title = name[0].upper() + name[1:]
        if {argument: str(of.type) for argument, of in field.args.items()} != {"input": f"{title}Input!"}:
            wrong.append(f"{name} does not take input: {title}Input! alone")
        for argument in field.args.values():
            key = getattr(get_named_type(argument.type), "fields", {}).get("idempotencyKey")
            if str(key and key.type) != "String!":
                wrong.append(f"the input of {name} has no idempotencyKey: String!")
        if str(field.type) != f"{title}Payload!":
            wrong.append(f"{name} does not give {title}Payload!")
        payload = get_named_type(field.type)
        payloads.add(payload.name)
        fields = {part: str(of.type) for part, of in getattr(payload, "fields", {}).items()}
        if (fields.get("position"), fields.get("errors")) != ("Position", "[UserError!]!"):
            wrong.append(f"{payload.name} has not position: Position and errors: [UserError!]!")
    others = {kind.name for kind in own_types(schema)} - payloads
    return wrong + [f"{name} is no mutation's" for name in others if name.endswith("Payload")]


def misnamed(schema: GraphQLSchema) -> list[str]:
    wrong = []
    for kind in own_types(schema):
        ending = "Input" if isinstance(kind, GraphQLInputObjectType) else ""
        wrong += [kind.name] if not re.fullmatch(f"[A-Z][A-Za-z]*{ending}", kind.name) else []
        form = "[A-Z][A-Z_]*" if is_enum_type(kind) else "[a-z][A-Za-z]*"
        for name, part in (getattr(kind, "fields", None) or getattr(kind, "values", {})).items():
            wrong += [f"{kind.name}.{name}"] if not re.fullmatch(form, name) else []
            arguments = getattr(part, "args", {})
            wrong += [f"{kind.name}.{name}({one}:)" for one in arguments if not re.fullmatch("[a-z][A-Za-z]*", one)]
    return wrong


def wrongly_deprecated(schema: GraphQLSchema) -> list[str]:
    """Deprecated things whose reason does not name another thing of the schema to use, and a date that exists."""
    everything = dict(places(schema))
    wrong = []
    for place, thing in everything.items():
        reason = getattr(thing, "deprecation_reason", None)
        if reason is None:
            continue
        said = DEPRECATION.match(reason)
        instead = everything.get(said[1]) if said else None
        if not said or not _exists(said[2]) or instead is None or getattr(instead, "deprecation_reason", None):
            wrong.append(place)
    return wrong


def _exists(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def without_identity(schema: GraphQLSchema) -> list[str]:
    """Types with an `id` that are no Node, and Nodes that no query finds."""
    wrong = []
    for kind in own_types(schema):
        if isinstance(kind, GraphQLObjectType) and "id" in kind.fields:
            if "Node" not in {one.name for one in kind.interfaces}:
                wrong.append(f"{kind.name} has an id and is no Node")
            elif kind.name not in {str(field.type) for field in schema.query_type.fields.values()}:  # type: ignore[union-attr]
                wrong.append(f"no query finds a {kind.name}")
    return wrong


def unspecified(schema: GraphQLSchema) -> list[str]:
    """Scalars without a specification: at a public address, or a heading of the documentation that is served."""
    wrong = []
    for kind in own_types(schema):
        if is_scalar_type(kind):
            path, _, heading = (getattr(kind, "specified_by_url", None) or "").partition("#")
            found = path.startswith("https://") or (
                path.removeprefix("/") in documents()
                and f'id="{heading}"' in page((ROOT / path.removeprefix("/")).read_text(), path, documents())
            )
            wrong += [] if found else [kind.name]
    return wrong


CONVENTIONS = [unspecified, undescribed, without_identity, unpaged, wrong_mutations, misnamed, wrongly_deprecated]


@pytest.mark.parametrize("broken", CONVENTIONS)
def test_the_schema_keeps_its_conventions(broken: Any) -> None:
    assert broken(schema._schema) == []


def test_every_exemption_exists() -> None:
    lists = {
        place
        for kind, name, field in output_fields(schema._schema)
        if is_list_type(get_nullable_type(field.type))
        for place in (f"{kind}.{name}", f"*.{name}")
    }
    assert set(BOUNDED) <= lists


BROKEN = """
"The root." type Query {
  "A." hospitals: [Hospital!]!
  "B." agendas(first: Int, "C." after: String): AgendaConnection!
  "D." slots("E." first: Int!, "F." after: String, "G." last: Int, "q." before: String): AgendaConnection!
  "H." one("I." first: Int!, "r." offset: Int): Hospital
  "J." old: Int @deprecated(reason: "Use `Query.one`; to be removed on 2027-06-01 or later. It counts nothing.")
  "K." older: Int @deprecated(reason: "Use something else.")
  "L." oldest: Int @deprecated(reason: "Use `Query.two`; to be removed on 2027-06-01 or later.")
  "M." undated: Int @deprecated(reason: "Use `Query.one`; to be removed on 2027-06-31 or later.")
  "N." chained: Int @deprecated(reason: "Use `Query.old`; to be removed on 2027-06-01 or later.")
  "O." unsaid: Int @deprecated
  "P." Loud("Q." Volume: Int): Int
}
"R." type Mutation {
  "S." book("T." input: BookInput!): BookPayload!
  "U." cancel("V." input: Cancelling!, "W." force: Boolean): Cancelled
}
type Hospital { name: String, "X." path: [String!]! }
"Y." type AgendaConnection { "Z." nodes: [Hospital] }
"s." type HospitalEdge { "t." node: Hospital }
"u." type PageInfo { "v." hasNextPage: Boolean! }
input BookInput { "a." idempotencyKey: String!, slot: Int }
"b." type BookPayload { "c." position: Position, "d." errors: [UserError!]! }
"e." input Cancelling { "f." key: String }
"g." type Cancelled { "h." position: Int! }
"i." type StrayPayload { "j." x: Int }
"k." type lower { "l." x: Int }
"m." interface UserError { "n." code: Colour! }
"o." enum Colour { RED "p." blue }
"q." type Stray { "r." id: ID! }
"s." interface Node { "t." id: ID! }
"u." type Lost implements Node { "v." id: ID! }
scalar Position
"Y." scalar Paged @specifiedBy(url: "/docs/api.md#nothing")
"""


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (
            undescribed,
            {"Query.agendas(first:)", "Hospital", "Hospital.name", "BookInput", "BookInput.slot", "Colour.RED"}
            | {"Position"},
        ),
        (
            unpaged,
            {
                "Query.hospitals is a list without pages",
                "Query.agendas does not take first, after, last and before",
                "Query.slots does not take first, after, last and before",
                "Query.one takes arguments of a list and gives no connection",
                "Query.one takes offset",
                "AgendaConnection has not edges, nodes and pageInfo",
                "HospitalEdge has not node and cursor",
                "PageInfo is not Relay's",
            },
        ),
        (
            wrong_mutations,
            {
                "cancel does not take input: CancelInput! alone",
                "the input of cancel has no idempotencyKey: String!",
                "cancel does not give CancelPayload!",
                "Cancelled has not position: Position and errors: [UserError!]!",
                "StrayPayload is no mutation's",
            },
        ),
        (without_identity, {"Stray has an id and is no Node", "no query finds a Lost"}),
        (unspecified, {"Position", "Paged"}),
        (misnamed, {"Cancelling", "lower", "Colour.blue", "Query.Loud", "Query.Loud(Volume:)"}),
        (
            wrongly_deprecated,
            {"Query.older", "Query.oldest", "Query.undated", "Query.chained", "Query.unsaid"},
        ),
    ],
)  # fmt: skip
def test_a_schema_that_breaks_conventions_is_detected(broken: Any, found: set[str]) -> None:
    assert set(broken(build_schema(BROKEN))) == found
