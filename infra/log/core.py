"""Log and lane on the database of the settings: what every process that decides commands opens."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from domain.decision import DECISIONS
from infra.log.cache import StateCache
from infra.log.lane import Lane
from infra.log.log import Log
from infra.postgres.database import application_conninfo
from infra.running.garbage import collect_seldom
from infra.running.metrics import Metrics
from infra.running.secret import Secret, load_secret
from infra.running.settings import Settings
from infra.running.tracing import Spans


class Core(msgspec.Struct, frozen=True):
    log: Log
    lane: Lane
    secret: Secret


@asynccontextmanager
async def open_core(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    metrics: Metrics | None = None,
    spans: Spans | None = None,
) -> AsyncIterator[Core]:
    """Open log and lane in this event loop; at the end the lane finishes what waits. It decides by this clock.

    Its work is recorded in `metrics` and `spans`, if given.

    The database must be running and migrated, see infra/postgres/database.py. Raises Unavailable if it does not answer.
    """
    assert DECISIONS, "no rules are loaded: see api/contexts.py"
    collect_seldom()
    secret = load_secret(settings)
    log = Log(application_conninfo(settings), schema=settings.schema, secret=secret)
    cache = StateCache(settings.cache_mib * 2**20)
    lane = Lane(
        log, secret=secret, queue_max=settings.queue_max, clock=clock, cache=cache, metrics=metrics, spans=spans
    )
    await log.open()
    lane.start()
    gc.freeze()  # program and schema are permanent, so they need not be collected
    try:
        yield Core(log=log, lane=lane, secret=secret)
    finally:
        await lane.stop()
        await log.close()
