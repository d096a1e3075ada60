"""What an actor may ask: one table, field by field of the schema's roots, and the guard that holds to it.

What is below a root is reached through it alone, so nobody needs to look again there. A field that is not in the table
keeps the program from starting: somebody has to think about it first.
"""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import CoroutineType
from typing import Any

import msgspec
from graphql import GraphQLField, GraphQLObjectType, GraphQLResolveInfo, GraphQLSchema

from api.access.identity import ROLES, Role
from api.graphql.context import Context
from api.graphql.current_lines import current_line
from api.graphql.errors import as_graphql_error
from api.graphql.fields import explain
from domain.appointments import agenda as agendas
from domain.channels import may_use
from domain.errors import Rejected
from domain.identifiers import agenda_of, ci_key, hospital_of, kind_of_id, line_of, parse_ci, service_point_of

Arguments = Mapping[str, Any]  # as resolvers get them
Verdict = bool | Coroutine[Any, Any, bool]


class Scope(msgspec.Struct, frozen=True):
    """Which of all that a field can be asked about: in words, for the docs, and as a question."""

    words: str
    covers: Callable[[Context, Arguments], Verdict]


Refuse = Callable[[Rejected, GraphQLResolveInfo[Context]], Any]
Rule = Mapping[Role, Scope]  # whoever is not in it may not


def _said(arguments: Arguments, path: str) -> Any:
    """An argument, or a field of one: "input.patient"."""
    name, _, field = path.partition(".")
    found = getattr(arguments[name], field) if field else arguments[name]
    return getattr(found, "value", found)  # of an enum


ALL = Scope("all", lambda context, arguments: True)


def own_hospital(path: str) -> Scope:
    """What belongs to a hospital in which the actor works; ids of agendas and appointments begin with it."""
    return Scope(
        "own hospital",
        lambda context, arguments: hospital_of(str(_said(arguments, path))) in context.actor.hospitals,
    )


async def _concerned(context: Context, arguments: Arguments, paths: tuple[str, ...]) -> bool:
    """Whether the actor as a person is in one of these places."""
    return bool(person := await context.person()) and any(person == _said(arguments, path) for path in paths)


def themselves(*paths: str) -> Scope:
    """The actor as a person, in one of these places."""
    return Scope("themselves", lambda context, arguments: _concerned(context, arguments, paths))


def others(*paths: str) -> Scope:
    """All in which the actor as a person has no part."""

    async def covers(context: Context, arguments: Arguments) -> bool:
        return not await _concerned(context, arguments, paths)

    return Scope("all, not their own", covers)


def own_people(path: str) -> Scope:
    """The actor as a person, and those for whom they act."""
    return Scope("own, dependants'", lambda context, arguments: context.acts_for(str(_said(arguments, path))))


def _number(context: Context, arguments: Arguments, path: str) -> str:
    """The digest of an identity number; "" of what is none: that is said where it is read."""
    try:
        key = ci_key(parse_ci(str(_said(arguments, path))))
    except Rejected:
        return ""
    return context.services.core.secret.identity_digest(key)


def own_identity(path: str) -> Scope:
    """Whoever bears the identity number of the token."""
    return Scope(
        "own identity number",
        lambda context, arguments: _number(context, arguments, path) in ("", context.actor.identity),
    )


def own_appointment(path: str) -> Scope:
    """Appointments of the actor, and of those for whom they act."""

    return Scope("own, dependants'", lambda context, arguments: _own_appointment(context, str(_said(arguments, path))))


async def _own_appointment(context: Context, appointment: str) -> bool:
    agenda: agendas.Agenda = await context.state(agendas.stream(agenda_of(appointment)))
    booked = agenda.appointments.get(appointment)
    return booked is not None and await context.acts_for(booked.patient)


def own_service_point(path: str) -> Scope:
    """What belongs to a service point at which the actor works; ids of lines and turns begin with it."""
    return Scope(
        "own service point",
        lambda context, arguments: service_point_of(str(_said(arguments, path))) in context.actor.service_points,
    )


def own_turn(path: str) -> Scope:
    """Turns of the actor, and of those for whom they act."""

    async def covers(context: Context, arguments: Arguments) -> bool:
        turn = str(_said(arguments, path))
        person = await current_line(
            context, line_of(turn), lambda now: now.line.turns[turn].person if turn in now.line.turns else None
        )
        return person is not None and await context.acts_for(person)

    return Scope("own, dependants'", covers)


async def _own_wish(context: Context, arguments: Arguments) -> bool:
    """A turn by WEB for a person, or a ficha, that is the actor's own or a dependant's."""
    wish = arguments["input"]
    if not _by_web(arguments) or (wish.person is None and wish.appointment is None):
        return False
    if wish.person is not None and not await context.acts_for(wish.person):
        return False
    return wish.appointment is None or bool(await _own_appointment(context, wish.appointment))


def only(scope: Scope, words: str, allowed: Callable[[Arguments], bool]) -> Scope:
    """Less than another one."""

    def covers(context: Context, arguments: Arguments) -> Verdict:
        return allowed(arguments) and scope.covers(context, arguments)

    return Scope(f"{scope.words}, {words}", covers)


def _corrected(arguments: Arguments) -> set[str]:
    """The fields of which a correction says something."""
    said = {name for name, value in vars(arguments["input"]).items() if value is not None}
    return said - {"idempotency_key", "person"}


def _contacts_alone(arguments: Arguments) -> bool:
    """The rest says who they are."""
    return _corrected(arguments) <= {"phone", "email"}


def _no_number(arguments: Arguments) -> bool:
    """Whoever bears another one is another person: for its bearer, all that was somebody else's."""
    return "identity" not in _corrected(arguments)


def _number_of_others(context: Context, arguments: Arguments) -> bool:
    """Nothing but a number, and not the actor's own: nobody makes themselves somebody else."""
    alone = _corrected(arguments) == {"identity"}
    return alone and _number(context, arguments, "input.identity") != (context.actor.identity or None)


def _by_web(arguments: Arguments) -> bool:
    return may_use("citizen", _said(arguments, "input.channel"))


def _not_by_web(arguments: Arguments) -> bool:
    return may_use("clerk", _said(arguments, "input.channel"))


def as_its_kind(role: Role) -> Scope:
    """As the field that is called like the kind of thing whose id it is."""

    def covers(context: Context, arguments: Arguments) -> Verdict:
        kind = kind_of_id(str(arguments["id"]))
        if kind is None:
            return True  # there is nothing of that name
        scope = RULES[f"Query.{kind}"].get(role)
        return scope is not None and scope.covers(context, arguments)

    return Scope("as the field of its kind", covers)


PUBLIC: Rule = dict.fromkeys(ROLES, ALL)
WHO_READS_ALL: Rule = {"auditor": ALL, "developer": ALL}
WHO_DOES_ALL: Rule = {"developer": ALL}
CLERKS: Rule = {"hospital_clerk": ALL, "counter_clerk": ALL}
NUMBERS = Scope("all, the number alone, not to their own", _number_of_others)

BY_KIND: Rule = {role: as_its_kind(role) for role in ROLES}

RULES: dict[str, Rule] = {
    "Query.node": BY_KIND,
    "Query.hospitals": PUBLIC,
    "Query.hospital": PUBLIC,
    "Query.agenda": PUBLIC,
    "Query.agendas": PUBLIC,
    "Query.availability": PUBLIC,
    # Of whom a hospital's clerk sees what concerns that hospital: see `Context.hospitals_seen`.
    "Query.patient": {"citizen": own_people("id"), "hospital_clerk": ALL, **WHO_READS_ALL},
    "Query.appointments": {"citizen": own_people("patient"), "hospital_clerk": ALL, **WHO_READS_ALL},
    "Query.appointment": {
        "citizen": own_appointment("id"),
        "hospital_clerk": own_hospital("id"),
        **WHO_READS_ALL,
    },
    "Query.person": {"citizen": own_people("id"), **CLERKS, **WHO_READS_ALL},
    "Query.personByIdentity": {"citizen": own_identity("identity"), **CLERKS, **WHO_READS_ALL},
    "Query.dependants": {"citizen": themselves("guardian"), **CLERKS, "procedures_officer": ALL, **WHO_READS_ALL},
    "Query.dayList": {"hospital_clerk": own_hospital("hospital"), **WHO_READS_ALL},
    "Query.utilisation": {"hospital_clerk": own_hospital("hospital"), **WHO_READS_ALL},
    "Query.line": PUBLIC,
    "Query.turn": PUBLIC,
    "Query.servicePoints": PUBLIC,
    "Query.lines": PUBLIC,
    # Of whom a counter's clerk sees what was at their service points: see `Context.service_points_seen`.
    "Query.turns": {"citizen": own_people("person"), "counter_clerk": ALL, **WHO_READS_ALL},
    **{
        f"Query.{name}": {"counter_clerk": own_service_point("line"), **WHO_READS_ALL}
        for name in ("lineTurns", "lineFigures")
    },
    "Query.lineHistory": {"counter_clerk": own_service_point("service_point"), **WHO_READS_ALL},
    "Query.webhooks": {"administrator": ALL, **WHO_READS_ALL},
    "Query.deliveries": {"administrator": ALL, **WHO_READS_ALL},
    "Mutation.registerHospital": {"administrator": ALL, **WHO_DOES_ALL},
    "Mutation.publishAgenda": {"hospital_clerk": own_hospital("input.hospital"), **WHO_DOES_ALL},
    "Mutation.holdSlot": {
        "citizen": own_people("input.patient"),
        "hospital_clerk": own_hospital("input.agenda"),
        **WHO_DOES_ALL,
    },
    "Mutation.bookAppointment": {
        "citizen": only(own_people("input.patient"), "by WEB", _by_web),
        "hospital_clerk": only(own_hospital("input.agenda"), "not by WEB", _not_by_web),
        **WHO_DOES_ALL,
    },
    "Mutation.cancelAppointment": {
        "citizen": only(
            own_appointment("input.appointment"),
            "not as HOSPITAL",
            lambda arguments: bool(_said(arguments, "input.reason") != "HOSPITAL"),
        ),
        "hospital_clerk": own_hospital("input.appointment"),
        **WHO_DOES_ALL,
    },
    "Mutation.checkIn": {"hospital_clerk": own_hospital("input.appointment"), **WHO_DOES_ALL},
    "Mutation.markNoShow": {"hospital_clerk": own_hospital("input.appointment"), "system": ALL, **WHO_DOES_ALL},
    "Mutation.registerPerson": {"citizen": own_identity("input.identity"), **CLERKS, **WHO_DOES_ALL},
    "Mutation.correctPerson": {
        "citizen": only(themselves("input.person"), "contacts", _contacts_alone),
        **dict.fromkeys(CLERKS, only(ALL, "not the number", _no_number)),
        **dict.fromkeys(("procedures_officer", "administrator"), NUMBERS),
        **WHO_DOES_ALL,
    },
    "Mutation.declareDependant": {"citizen": themselves("input.guardian"), **CLERKS, **WHO_DOES_ALL},
    "Mutation.confirmDependant": {
        "procedures_officer": others("input.guardian", "input.dependant"),
        **WHO_DOES_ALL,
    },
    "Mutation.endDependency": {
        "citizen": only(
            themselves("input.guardian", "input.dependant"),
            "not as AUTHORITY",
            lambda arguments: bool(_said(arguments, "input.reason") != "AUTHORITY"),
        ),
        "procedures_officer": ALL,
        **WHO_DOES_ALL,
    },
    "Mutation.erasePerson": {"citizen": themselves("input.person"), "administrator": ALL, **WHO_DOES_ALL},
    "Mutation.registerServicePoint": {"administrator": ALL, **WHO_DOES_ALL},
    "Mutation.openLine": {"counter_clerk": own_service_point("input.service_point"), **WHO_DOES_ALL},
    "Mutation.closeLine": {"counter_clerk": own_service_point("input.line"), **WHO_DOES_ALL},
    "Mutation.pauseCounter": {"counter_clerk": own_service_point("input.line"), **WHO_DOES_ALL},
    "Mutation.resumeCounter": {"counter_clerk": own_service_point("input.line"), **WHO_DOES_ALL},
    "Mutation.takeTurn": {
        "citizen": Scope("own, dependants', by WEB", _own_wish),
        "counter_clerk": only(own_service_point("input.line"), "not by WEB", _not_by_web),
        **WHO_DOES_ALL,
    },
    "Mutation.callNext": {"counter_clerk": own_service_point("input.line"), **WHO_DOES_ALL},
    **{
        f"Mutation.{name}": {"counter_clerk": own_service_point("input.turn"), **WHO_DOES_ALL}
        for name in ("callTurn", "recall", "startService", "finishService", "markAbsent")
    },
    "Mutation.transferTurn": {
        "counter_clerk": Scope(
            "own service point, to a line there",
            lambda context, arguments: (
                {service_point_of(str(_said(arguments, path))) for path in ("input.turn", "input.to")}
                <= context.actor.service_points
            ),
        ),
        **WHO_DOES_ALL,
    },
    **{
        f"Mutation.{name}": {
            "citizen": own_turn("input.turn"),
            "counter_clerk": own_service_point("input.turn"),
            **WHO_DOES_ALL,
        }
        for name in ("requeueAbsent", "leaveLine", "askNotice")
    },
    "Mutation.registerWebhook": {"administrator": ALL, **WHO_DOES_ALL},
    "Mutation.removeWebhook": {"administrator": ALL, **WHO_DOES_ALL},
    "Mutation.resendDelivery": {"administrator": ALL, **WHO_DOES_ALL},
    "Subscription.agenda": PUBLIC,
    "Subscription.line": PUBLIC,
    "Subscription.turn": PUBLIC,
    "Subscription.appointment": {
        "citizen": own_appointment("id"),
        "hospital_clerk": own_hospital("id"),
        **WHO_READS_ALL,
    },
}


class Forbidden(
    Rejected,
    es="Esto no le está permitido con este acceso.",
    en="This is not allowed to you with this login.",
): ...


class LoginRequired(
    Rejected,
    es="Para esto hay que identificarse: falta el token.",
    en="You have to log in for this: there is no token.",
): ...


async def role_for(name: str, context: Context, arguments: Arguments) -> Role | None:
    """In which of their roles the actor may ask this of a root field; None if in none."""
    rule = RULES[name]
    if name.startswith("Mutation."):
        context.look_anew()
    for role in context.actor.roles:
        if scope := rule.get(role):
            verdict = scope.covers(context, arguments)
            if await verdict if type(verdict) is CoroutineType else verdict:
                return role
    return None


def guard(schema: GraphQLSchema) -> None:
    """Put the table before every field of the schema's roots. Raises KeyError for one that is not in it."""
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        assert root
        for name, field in root.fields.items():
            full_name = f"{root.name}.{name}"
            RULES[full_name]
            assert "attribute" not in field.extensions, "a plan would ask for it past the guard"
            if root is schema.subscription_type:
                field.subscribe = _watched(full_name, _guarded(full_name, field.subscribe, _refused_by_error))
            else:
                refused = _refused_in_payload(field) if root is schema.mutation_type else _refused_by_error
                field.resolve = _guarded(full_name, field.resolve, refused)


def _guarded(name: str, ask: Any, refused: Refuse) -> Callable[..., Any]:
    async def guarded(source: Any, info: GraphQLResolveInfo[Context], **arguments: Any) -> Any:
        context: Context = info.context
        role = await role_for(name, context, arguments)
        if role is None:
            return refused(Forbidden() if context.actor.subject else LoginRequired(), info)
        context.role = role
        answer = ask(source, info, **arguments)
        return await answer if type(answer) is CoroutineType else answer

    return guarded


def _watched(name: str, ask: Callable[..., Any]) -> Callable[..., Any]:
    """What is asked for once is told again and again: whoever tells it can see whether it may still be told."""

    async def watched(source: Any, info: GraphQLResolveInfo[Context], **arguments: Any) -> Any:
        info.context.may_still = partial(_may_still, name, info.context, arguments)
        return await ask(source, info, **arguments)

    return watched


async def _may_still(name: str, context: Context, arguments: Arguments) -> bool:
    """Whether what was allowed once is allowed now: somebody may have been a guardian until yesterday."""
    return await role_for(name, context, arguments) is not None


def _refused_by_error(refusal: Rejected, info: GraphQLResolveInfo[Context]) -> Any:
    raise as_graphql_error(refusal, info.context.language)


def _refused_in_payload(field: GraphQLField) -> Refuse:
    payload = getattr(field.type, "of_type", field.type)
    assert isinstance(payload, GraphQLObjectType)
    make = payload.extensions["strawberry-definition"].origin
    return lambda refusal, info: make(errors=explain(refusal, info.context))


def table() -> str:
    """Who may do what, as docs/access.md shows it."""
    shown = [role for role in ROLES if any(role in rule for rule in RULES.values() if rule not in (PUBLIC, BY_KIND))]
    lines = [f"| field | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    for name, rule in RULES.items():
        cells = [rule[role].words if role in rule else "" for role in shown]
        if rule in (PUBLIC, BY_KIND):
            cells = ["everybody" if rule is PUBLIC else cells[0], *[""] * (len(shown) - 1)]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)
