"""The guard before every root field: checks ids and codes, then the grant, and words refusals as the root type does."""

import re
from collections.abc import Callable
from functools import partial
from types import CoroutineType
from typing import Any

from graphql import GraphQLResolveInfo

from api.access.grant import Forbidden, Grant, LoginRequired
from api.graphql.access import Arguments, granted
from api.graphql.context import Context
from api.graphql.engine.request_errors import as_graphql_error
from api.graphql.errors import user_error
from api.graphql.fields import Payload, RootField
from domain.errors import InvalidInput, Rejected
from domain.identifiers import hint_of

Info = GraphQLResolveInfo[Context]
Refuse = Callable[[Rejected, Context, Grant | None], Any]
Resolve = Callable[..., Any]


def guarded(field: RootField) -> Resolve:
    """The function that answers the field, for those who may use it."""
    if field.root == "Subscription":
        return _followed(field)
    refuse = _in_payload(field.answer) if field.root == "Mutation" else _by_error
    return _guarded(field, refuse, changes=field.root == "Mutation")


def _guarded(field: RootField, refuse: Refuse, *, changes: bool) -> Resolve:
    ask, who, takes_grant = field.function, field.who, field.takes_grant
    find_malformed = _malformed_finder(field)

    async def resolve(_source: Any, info: Info, **arguments: Any) -> Any:
        context: Context = info.context
        if changes:
            context.look_anew()
        if malformed := find_malformed(arguments):
            return refuse(malformed, context, None)
        grant = await granted(who, context, arguments)
        if grant is None:
            return refuse(_not_allowed(context), context, None)
        try:
            answer = ask(info, grant, **arguments) if takes_grant else ask(info, **arguments)
            return await answer if type(answer) is CoroutineType else answer
        except Rejected as refusal:
            return refuse(refusal, context, grant)

    return resolve


def _malformed_finder(field: RootField) -> Callable[[Arguments], InvalidInput | None]:
    """A function that finds the first malformed id or code of a request."""
    forms = [(name, re.compile(form.pattern or "").search, hint_of(form)) for name, form in field.forms.items()]
    is_mutation = field.root == "Mutation"

    def find(arguments: Arguments) -> InvalidInput | None:
        given = vars(arguments["input"]) if is_mutation else arguments
        for name, matches, hint in forms:
            value = given.get(name)
            if type(value) is list:
                wrong = next((number for number, one in enumerate(value) if not matches(one)), None)
                if wrong is not None:
                    return InvalidInput(path=f"{name}.{wrong}", hint=hint)
            elif value is not None and not matches(value):
                return InvalidInput(path=name, hint=hint)
        return None

    return find


def _followed(field: RootField) -> Resolve:
    """For a subscription, keep the check in the context: the sender calls it again before each message."""
    resolve = _guarded(field, _by_error, changes=False)

    async def follow(source: Any, info: Info, **arguments: Any) -> Any:
        info.context.may_still = partial(_may_still, field, info.context, arguments)
        return await resolve(source, info, **arguments)

    return follow


async def _may_still(field: RootField, context: Context, arguments: Arguments) -> bool:
    """Whether a subscription is still allowed: somebody may no longer be a guardian, for example."""
    return await granted(field.who, context, arguments) is not None


def _not_allowed(context: Context) -> Rejected:
    return Forbidden() if context.actor.subject else LoginRequired()


def _by_error(refusal: Rejected, context: Context, _grant: Grant | None) -> Any:
    raise as_graphql_error(refusal, context.language)


def _in_payload(payload: type[Payload]) -> Refuse:
    def refused(refusal: Rejected, context: Context, grant: Grant | None) -> Payload:
        context.refusals.append(refusal.code)
        return payload(errors=[user_error(refusal, context.language, grant)])

    return refused
