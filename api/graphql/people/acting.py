"""Who an actor is as a person, and for whom they act; the scopes that follow from it."""

from api.graphql.access import Arguments, Scope, argument
from api.graphql.context import Context
from domain import people
from domain.errors import Rejected
from domain.identifiers import ci_key, parse_ci
from domain.people import dependants


async def person_of(context: Context) -> str:
    """The person who has the actor's identity number; "" if the actor has none, or nobody is registered with it.

    Raises like `Context.state`.
    """
    actor, now = context.actor, context.services.now()
    known = actor.known_person
    if actor.identity and (context.looks_anew or known.until is None or now >= known.until):
        async with context.available():
            stream = people.identity_stream(actor.identity)
            bearer: people.Identity = await context.services.acquaintance.state(stream)
        known.remember(bearer.person or "", now)
    context.person_found = known.person
    return known.person


async def acts_for(context: Context, person: str) -> bool:
    """Whether a citizen may ask and do what this person may: themselves or a dependant. Raises like `Context.state`."""
    own = await person_of(context)
    if not own or person == own:
        return bool(own)
    guardian, dependant = dependants.stream(own), people.stream(person)
    states = await context.states([guardian, dependant])
    return dependants.acts_for(states[guardian], states[dependant], context.services.now())


async def _concerned(context: Context, arguments: Arguments, paths: tuple[str, ...]) -> bool:
    """Whether one of these arguments names the actor as a person."""
    return bool(person := await person_of(context)) and any(person == argument(arguments, path) for path in paths)


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
    return Scope("own, dependants'", lambda context, arguments: acts_for(context, str(argument(arguments, path))))


def digest_of(context: Context, arguments: Arguments, path: str) -> str:
    """The digest of an identity number; "" if it is not one: the command refuses it."""
    try:
        key = ci_key(parse_ci(str(argument(arguments, path))))
    except Rejected:
        return ""
    return context.services.core.secret.identity_digest(key)


def own_identity(path: str) -> Scope:
    """Whoever bears the identity number of the token."""
    return Scope(
        "own identity number",
        lambda context, arguments: digest_of(context, arguments, path) in ("", context.actor.identity),
    )
