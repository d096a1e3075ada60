"""Which channels an actor may use: a rule that appointments and turns share."""

from typing import Literal

Actor = Literal["citizen", "clerk"]


def may_use(actor: Actor, channel: str) -> bool:
    """Citizens use WEB, for themselves and their dependants. Clerks use every other channel, for those they attend."""
    return (channel == "WEB") == (actor == "citizen")
