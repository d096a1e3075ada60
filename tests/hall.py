"""An office over the API: steps of lines and turns, by name."""

import itertools
from typing import Any

from infra.gateways.keys import Login
from tests.api.conftest import Client

CLERK = Login(subject="rosa", roles=["counter_clerk"], service_points=["sopocachi"])
TURN = """id number priority state since takenAt ahead countersOpen counter calls calledAt comeUntil startedAt
  endedAt backUntil notice { ahead minutes }"""
LINE = """id service date state opensAt lastTurnAt closesAt closedAt waiting countersOpen
  policy { order atLeast oneIn directCalls recallsMax callTimeoutSeconds requeueWithinSeconds requeuesMax
    earlyMinutesMax }
  classes { priority waiting taken ahead } counters { number open turn { number state } }
  lastCalls { number counter calledAt calls state } next"""
ERRORS = """errors { code message path ... on HasATurn { turn { id } number } ... on NotBefore { at }
  ... on NotNext { number } }"""
ABOUT_LINES = {"openLine", "closeLine", "pauseCounter", "resumeCounter"}
SHOW_LINE = f"query ($id: ID!) {{ line(id: $id) {{ {LINE} }} }}"
SHOW_TURN = f"query ($id: ID!) {{ turn(id: $id) {{ {TURN} }} }}"


class Hall:
    """Sends the steps with the client's token."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._keys = itertools.count()

    async def ask(self, mutation: str, **wanted: Any) -> Any:
        """The payload of a mutation."""
        kind = f"{mutation[0].upper()}{mutation[1:]}Input"
        shown = "servicePoint { code }" if mutation == "registerServicePoint" else f"turn {{ {TURN} }}"
        if mutation in ABOUT_LINES:
            shown = f"line {{ {LINE} }}"
        if mutation == "checkIn":
            shown += " appointment { id state }"
        document = f"mutation ($input: {kind}!) {{ {mutation}(input: $input) {{ {shown} position {ERRORS} }} }}"
        wanted.setdefault("idempotencyKey", f"k{next(self._keys)}")
        return await self.client.data(document, input=wanted)

    async def do(self, mutation: str, **wanted: Any) -> Any:
        """The turn or the line after a step that is accepted."""
        payload = await self.ask(mutation, **wanted)
        assert payload["errors"] == [], payload
        return payload["line" if mutation in ABOUT_LINES else "turn"]

    async def refused(self, mutation: str, **wanted: Any) -> Any:
        """The errors of a refused step."""
        (error,) = (await self.ask(mutation, **wanted))["errors"]
        return error

    async def line(self, line: str) -> Any:
        return await self.client.data(SHOW_LINE, id=line)

    async def turn(self, turn: str) -> Any:
        return await self.client.data(SHOW_TURN, id=turn)
