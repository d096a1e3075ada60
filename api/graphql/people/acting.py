"""The person whom an actor is, the people and organisations for whom they act, and the scopes that depend on them."""

from collections.abc import Collection, Coroutine
from typing import Any

from api.graphql.access import Arguments, Scope, argument
from api.graphql.context import Context
from domain import people
from domain.errors import Rejected
from domain.identifiers import is_organisation, parse_document
from domain.people import dependants, representatives


async def person_of(context: Context) -> str:
    """The person with the actor's identity number; "" if the actor has no number or nobody is registered with it.

    Raises like `Context.state`.
    """
    actor, now = context.actor, context.services.now()
    known = actor.known_person
    if actor.identity and (context.looks_anew or known.until is None or now >= known.until):
        async with context.available():
            stream = people.identity_stream(actor.identity)
            bearer: people.Identity = await context.services.person_lookup.state(stream)
        known.remember(bearer.person or "", now)
    context.person_found = known.person
    return known.person


async def acts_for(context: Context, party: str) -> bool:
    """Whether the actor is this person, or acts for this person or organisation. Raises like `Context.state`."""
    own = await person_of(context)
    if not own or party == own:
        return bool(own)
    if is_organisation(party):
        state = await context.state(representatives.stream(own))
        return representatives.acts_for(state, party, context.services.now())
    guardian, dependant = dependants.stream(own), people.stream(party)
    states = await context.states([guardian, dependant])
    return dependants.acts_for(states[guardian], states[dependant], context.services.now())


async def is_one_of(context: Context, persons: Collection[object]) -> bool:
    """Whether the actor is one of these persons. Raises like `Context.state`."""
    return bool(person := await person_of(context)) and person in persons


def _concerned(context: Context, arguments: Arguments, paths: tuple[str, ...]) -> Coroutine[Any, Any, bool]:
    """Whether one of these arguments is the actor's own subject id."""
    return is_one_of(context, [argument(arguments, path) for path in paths])


def themselves(*paths: str) -> Scope:
    """Requests in which one of these arguments is the actor's own person."""
    return Scope("about themselves", lambda context, arguments: _concerned(context, arguments, paths))


def others(*paths: str) -> Scope:
    """Requests in which none of these arguments is the actor's own person."""

    async def covers(context: Context, arguments: Arguments) -> bool:
        return not await _concerned(context, arguments, paths)

    return Scope("about other people", covers)


def own_people(path: str) -> Scope:
    """The actor's own person, and the people for whom they act."""
    return Scope(
        "for themselves and their confirmed dependants",
        lambda context, arguments: acts_for(context, str(argument(arguments, path))),
    )


def own_organisations(path: str) -> Scope:
    """The organisations that the actor represents."""
    return Scope("for their organisations", lambda context, arguments: acts_for(context, argument(arguments, path)))


def own_parties(path: str) -> Scope:
    """The actor's own person, and the people and organisations for whom they act: for a field of the form PARTY."""
    return Scope(
        "for themselves, their confirmed dependants and their organisations",
        lambda context, arguments: acts_for(context, argument(arguments, path)),
    )


def outsiders(person: str, organisation: str) -> Scope:
    """Requests in which one argument is not the actor's own person, nor the other an organisation of theirs."""

    async def covers(context: Context, arguments: Arguments) -> bool:
        if await _concerned(context, arguments, (person,)):
            return False
        return not await acts_for(context, argument(arguments, organisation))

    return Scope("about other people and organisations", covers)


def not_their_organisation(path: str) -> Scope:
    """Requests about an organisation that the actor does not represent."""

    async def covers(context: Context, arguments: Arguments) -> bool:
        return not await acts_for(context, argument(arguments, path))

    return Scope("about other organisations", covers)


def digest_of(context: Context, arguments: Arguments, path: str) -> str:
    """The digest of the number at this path, with the document and country beside it.

    "" if it is invalid, which the command refuses later.
    """
    beside = path.removesuffix("identity")
    document, country = argument(arguments, f"{beside}document"), argument(arguments, f"{beside}country")
    try:
        key = parse_document(document or "CI", str(argument(arguments, path)), country or "").key
    except Rejected:
        return ""
    return context.services.core.secret.identity_digest(key)


def own_identity(path: str) -> Scope:
    """The person who has the identity number of the token."""
    return Scope(
        "with their own identity number",
        lambda context, arguments: digest_of(context, arguments, path) in ("", context.actor.identity),
    )
