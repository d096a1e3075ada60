"""Who may ask a root field: rules that are declared at the field, and the grant that comes of them.

What is below a root field is reached through it alone, so nothing is checked again there.
"""

from collections.abc import Callable, Coroutine, Mapping
from types import CoroutineType
from typing import Any

import msgspec

from api.access.grant import Grant
from api.access.identity import ROLES, Role
from api.graphql.context import Context

Arguments = Mapping[str, Any]  # as resolvers get them
Verdict = bool | Coroutine[Any, Any, bool]


class Scope(msgspec.Struct, frozen=True):
    """A part of what a field can be asked about.

    Attributes:
        words: what the table of docs/access.md says.
        covers: whether these arguments are within it.
    """

    words: str
    covers: Callable[[Context, Arguments], Verdict]


Rule = Mapping[Role, Scope]  # a role that is not in it may not ask


def argument(arguments: Arguments, path: str) -> Any:
    """An argument, or a field of one: "input.patient". Of an enum, its value."""
    name, _, field = path.partition(".")
    found = getattr(arguments[name], field) if field else arguments[name]
    return getattr(found, "value", found)


ALL = Scope("all", lambda context, arguments: True)


def only(scope: Scope, words: str, allowed: Callable[[Arguments], bool]) -> Scope:
    """A part of a scope: what is also `allowed`."""

    def covers(context: Context, arguments: Arguments) -> Verdict:
        return allowed(arguments) and scope.covers(context, arguments)

    return Scope(f"{scope.words}, {words}", covers)


def own_places(role: Role, words: str, places: Callable[[Arguments], set[str]]) -> Scope:
    """What belongs to the places in which the actor has the role; `places` names those that are asked about."""
    return Scope(words, lambda context, arguments: places(arguments) <= (context.actor.bounds(role) or frozenset()))


EVERYBODY: Rule = dict.fromkeys(ROLES, ALL)
READERS_OF_ALL: Rule = {"auditor": ALL, "developer": ALL}
DOERS_OF_ALL: Rule = {"developer": ALL}
CLERKS: Rule = {"hospital_clerk": ALL, "counter_clerk": ALL}


async def granted(rule: Rule, context: Context, arguments: Arguments) -> Grant | None:
    """The grant by the first of the actor's roles that may ask this; None if none may."""
    actor = context.actor
    for role in actor.roles:
        if scope := rule.get(role):
            verdict = scope.covers(context, arguments)
            if await verdict if type(verdict) is CoroutineType else verdict:
                return Grant(actor, role, context.person_found)
    return None


def table(rules: Mapping[str, Rule]) -> str:
    """Who may ask what, by the fields' names, as docs/access.md shows it."""
    shown = [role for role in ROLES if any(role in rule and not _is_same_for_all(rule) for rule in rules.values())]
    lines = [f"| field | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    for name, rule in rules.items():
        cells = [rule[role].words if role in rule else "" for role in shown]
        if _is_same_for_all(rule):
            cells = ["everybody" if rule is EVERYBODY else cells[0], *[""] * (len(shown) - 1)]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _is_same_for_all(rule: Rule) -> bool:
    """Whether each role has the same scope."""
    return len(rule) == len(ROLES) and len({scope.words for scope in rule.values()}) == 1
