"""Log and committer on the database of the settings: what every process that decides commands opens."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from domain.decision import DECISIONS
from infra.log.cache import StateCache
from infra.log.committer import Committer
from infra.log.log import Log
from infra.postgres.database import application_conninfo
from infra.running.garbage import collect_seldom
from infra.running.metrics import Metrics
from infra.running.secret import Secret, load_secret
from infra.running.settings import Settings
from infra.running.tracing import Spans


class Core(msgspec.Struct, frozen=True):
    log: Log
    committer: Committer
    secret: Secret


@asynccontextmanager
async def open_core(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    metrics: Metrics | None = None,
    spans: Spans | None = None,
) -> AsyncIterator[Core]:
    """Open log and committer in this event loop. At the end the committer finishes waiting commands.

    It decides by `clock`. Its work is recorded in `metrics` and `spans`, if given.

    The database must be running and migrated, see infra/postgres/database.py. Raises Unavailable if it does not answer.
    """
    assert DECISIONS, "no rules are loaded: see api/contexts.py"
    collect_seldom()
    secret = load_secret(settings)
    log = Log(application_conninfo(settings), schema=settings.schema, secret=secret)
    cache = StateCache(settings.cache_mib * 2**20)
    committer = Committer(
        log, secret=secret, queue_max=settings.queue_max, clock=clock, cache=cache, metrics=metrics, spans=spans
    )
    await log.open()
    committer.start()
    gc.freeze()  # program and schema are permanent, so they need not be collected
    try:
        yield Core(log=log, committer=committer, secret=secret)
    finally:
        await committer.stop()
        await log.close()
