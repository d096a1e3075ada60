"""A grant: what an actor was allowed for one root field of one request."""

import msgspec

from api.access.identity import Actor, Role
from domain.errors import Rejected


class Grant(msgspec.Struct, frozen=True, gc=False):
    """Who asks, in which role and within which bounds. Resolvers are given it, and it never changes.

    Root fields of a query run side by side, each with a grant of its own: what one may see can't widen another.

    Attributes:
        actor: who asks.
        role: the role of the actor's that allows the field.
        person: the actor's own subject id; "" if the role did not depend on it.
    """

    actor: Actor
    role: Role
    person: str = ""

    @property
    def bounds(self) -> frozenset[str] | None:
        """The codes of the places in which the actor has the role; None if the role is not bound to places."""
        return self.actor.bounds(self.role)

    @property
    def recorded_as(self) -> str:
        """What the log keeps of who acted: the role with its person, the login (`Actor.login_as`), and the program."""
        actor, role = self.actor, self.role
        person = f":{self.person}" if role == "citizen" and self.person else ""
        return f"{role}{person} {actor.login_as(role)} {actor.client}"


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
