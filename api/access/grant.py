"""A grant: what an actor is allowed for one root field of one request."""

import msgspec

from api.access.identity import Actor, Role
from domain.errors import Rejected


class Grant(msgspec.Struct, frozen=True, gc=False):
    """The actor of a request, with the role and the bounds that apply to one root field. Immutable.

    The root fields of a query run concurrently, each with its own grant, so no field can widen the rights of another.

    Attributes:
        actor: the actor of the request.
        role: the actor's role that allows the field.
        person: the actor's own subject id; "" if the role did not depend on it.
    """

    actor: Actor
    role: Role
    person: str = ""

    @property
    def bounds(self) -> frozenset[str] | None:
        """The codes of the places where the actor has the role; None if the role is not bound to places."""
        return self.actor.bounds(self.role)

    @property
    def recorded_as(self) -> str:
        """What the log records of the actor: role and person, the login (see `Actor.login_as`) and the program."""
        actor, role = self.actor, self.role
        person = f":{self.person}" if role == "citizen" and self.person else ""
        return f"{role}{person} {actor.login_as(role)} {actor.client}"


class Forbidden(
    Rejected,
    es="Su cuenta no tiene permiso para hacer esto.",
    en="This login is not allowed to do this.",
): ...


class LoginRequired(
    Rejected,
    es="Para hacer esto, inicie sesión: falta el token.",
    en="You must log in to do this: the token is missing.",
): ...
