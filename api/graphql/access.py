"""Who may use a root field: rules that are declared at the field, and the grants that follow from them.

Fields below a root field are reached only through it, so they are not checked again.
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
    """A part of the data or arguments for which a field may be used.

    Attributes:
        words: the text in the table of docs/access.md.
        covers: whether the arguments are within the scope.
    """

    words: str
    covers: Callable[[Context, Arguments], Verdict]


Rule = Mapping[Role, Scope]  # a role that is not in it may not use the field


def argument(arguments: Arguments, path: str) -> Any:
    """An argument, or a field of one, such as "input.patient". For an enum, its value."""
    name, _, field = path.partition(".")
    found = getattr(arguments[name], field) if field else arguments[name]
    return getattr(found, "value", found)


ALL = Scope("unrestricted", lambda context, arguments: True)


def only(scope: Scope, words: str, allowed: Callable[[Arguments], bool]) -> Scope:
    """The part of a scope that is also `allowed`."""

    def covers(context: Context, arguments: Arguments) -> Verdict:
        return allowed(arguments) and scope.covers(context, arguments)

    return Scope(f"{scope.words}, {words}", covers)


def own_places(role: Role, words: str, places: Callable[[Arguments], set[str]]) -> Scope:
    """Data of the places in which the actor has the role. `places` returns the places that the arguments concern."""
    return Scope(words, lambda context, arguments: places(arguments) <= (context.actor.bounds(role) or frozenset()))


EVERYBODY: Rule = dict.fromkeys(ROLES, ALL)
READERS_OF_ALL: Rule = {"auditor": ALL, "developer": ALL}
DOERS_OF_ALL: Rule = {"developer": ALL}
CLERKS: Rule = {"hospital_clerk": ALL, "counter_clerk": ALL}
FINANCE: Rule = {"finance_officer": ALL, "finance_supervisor": ALL}


async def granted(rule: Rule, context: Context, arguments: Arguments) -> Grant | None:
    """The grant for the first of the actor's roles that allows this; None if none does."""
    actor = context.actor
    for role in actor.roles:
        if scope := rule.get(role):
            verdict = scope.covers(context, arguments)
            if await verdict if type(verdict) is CoroutineType else verdict:
                return Grant(actor, role, context.person_found)
    return None


def table(rules: Mapping[str, Rule]) -> str:
    """The table of docs/access.md: who may use each field."""
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
