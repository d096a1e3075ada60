"""People who wait, done on the log: short names for what tests of read models do again and again."""

from datetime import UTC, datetime
from typing import Any

from domain.decider import build
from domain.queues.calling import CallNext, FinishService, StartService
from infra.log.core import Core
from tests import city
from tests.city import key, service_point

OPENS_AT = datetime(2027, 1, 4, 11, tzinfo=UTC)  # 7 in La Paz
LINE = city.open_line().line


def turn_of(name: str, line: str = LINE) -> str:
    """The turn with this name in a line."""
    return city.turn_of(name, line)


async def open_line(core: Core, *, point: str = "sopocachi", service: str = "cadastre", **more: Any) -> str:
    """A service point with a line: its name."""
    command = city.open_line(point, service, **more)
    await core.committer.submit(service_point(point), key(point))
    await core.committer.submit(command, key(command.line))
    return command.line


async def take(core: Core, name: str, line: str = LINE, *, reason: str | None = None) -> str:
    """Somebody takes a turn: its id."""
    command = city.take(line, name, reason=reason)
    await core.committer.submit(command, key(command.turn))
    return command.turn


async def call(core: Core, name: str, counter: int = 1, line: str = LINE) -> None:
    """Call whoever is next; `name` tells calls apart."""
    await core.committer.submit(build(CallNext, line=line, counter=counter), key(f"call {line} {name}"))


async def start(core: Core, turn: str) -> None:
    await core.committer.submit(build(StartService, turn=turn), key(f"start {turn}"))


async def finish(core: Core, turn: str, outcome: str = "DONE") -> None:
    await core.committer.submit(build(FinishService, turn=turn, outcome=outcome), key(f"finish {turn}"))
