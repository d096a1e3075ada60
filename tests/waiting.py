"""A service point with a line of today, for tests in which people wait."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from domain.decider import build
from domain.identifiers import line_id
from domain.queues.calling import CallNext, FinishService, StartService
from domain.queues.opening import OpenLine
from domain.queues.service_point import RegisterServicePoint
from domain.queues.turns import TakeTurn
from infra.core import Core
from tests.city import key, opaque

TODAY = date(2027, 1, 4)  # of the test's clock when it begins
OPENS_AT = datetime(2027, 1, 4, 11, tzinfo=UTC)  # 7 in La Paz
LINE = line_id("sopocachi", "cadastre", TODAY)


def turn_of(name: str, line: str = LINE) -> str:
    """The turn with this name in a line."""
    return f"{line}/{opaque(name)}"


def service_point(code: str = "sopocachi", hospital: str | None = None) -> RegisterServicePoint:
    return build(RegisterServicePoint, service_point=code, name=f"Office {code}", hospital=hospital)


def opening(
    service: str = "cadastre",
    *,
    point: str = "sopocachi",
    day: date = TODAY,
    counters: Sequence[int] = (1, 2),
    hours: int = 9,
    **policy: Any,
) -> OpenLine:
    """A line from 7 in the morning on, for so many hours."""
    opens_at = OPENS_AT + (day - TODAY)
    return build(
        OpenLine,
        service_point=point,
        service=service,
        date=day,
        counters=list(counters),
        opens_at=opens_at,
        closes_at=opens_at + timedelta(hours=hours),
        policy=policy,
    )


def taking(name: str, line: str = LINE, **more: Any) -> TakeTurn:
    """A turn of somebody of this name, whom nobody else is."""
    return build(
        TakeTurn, **{"line": line, "turn": turn_of(name, line), "channel": "WEB", "person": opaque(name)} | more
    )


async def open_line(core: Core, *, point: str = "sopocachi", service: str = "cadastre", **more: Any) -> str:
    """A service point with a line, in the log: its name."""
    command = opening(service, point=point, **more)
    await core.lane.submit(service_point(point), key(point))
    await core.lane.submit(command, key(command.line))
    return command.line


async def take(core: Core, name: str, line: str = LINE, **more: Any) -> str:
    """Somebody takes a turn: its id."""
    command = taking(name, line, **more)
    await core.lane.submit(command, key(command.turn))
    return command.turn


async def call(core: Core, name: str, counter: int = 1, line: str = LINE) -> None:
    """Call whoever is next; `name` tells calls apart."""
    await core.lane.submit(build(CallNext, line=line, counter=counter), key(f"call {line} {name}"))


async def start(core: Core, turn: str) -> None:
    await core.lane.submit(build(StartService, turn=turn), key(f"start {turn}"))


async def finish(core: Core, turn: str, outcome: str = "DONE") -> None:
    await core.lane.submit(build(FinishService, turn=turn, outcome=outcome), key(f"finish {turn}"))
