"""Through which channel somebody may act: a rule of appointments and of turns alike."""

from typing import Literal

Actor = Literal["citizen", "clerk"]


def may_use(actor: Actor, channel: str) -> bool:
    """Citizens act by WEB, for themselves and their dependants; clerks by every other channel, for whom they see."""
    return (channel == "WEB") == (actor == "citizen")
