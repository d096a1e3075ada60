"""One PostgreSQL for the whole run, embedded; a municipality's schema of its own for each test."""

import itertools
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from api.contexts import load_domain
from bench import login
from infra.log.core import Core
from infra.log.lane import Lane
from infra.log.log import Log
from infra.log.secret import Secret
from infra.postgres.embedded import APPLICATION, OWNER, EmbeddedPostgres
from infra.postgres.migrate import migrate
from infra.postgres.views import Views

# A shell starts what runs in the background deaf to Ctrl-C, and programs that tests start and end by it would be, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

load_domain()

SECRET = bytes.fromhex(login.SECRET)

_schemas = (f"town_{number}" for number in itertools.count(1))


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The embedded server; IGOB_TEST_POSTGRES_BIN names other binaries to run all tests on, such as Debian's."""
    binaries = os.environ.get("IGOB_TEST_POSTGRES_BIN")
    with tempfile.TemporaryDirectory(prefix="igob-test-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "igob", bin_dir=Path(binaries) if binaries else None)
        with postgres.hold("tests"):
            postgres.start()
            yield postgres
            postgres.stop()


@pytest.fixture(scope="session")
def secret() -> Secret:
    return Secret(SECRET)


class Town:
    """A municipality with an empty log."""

    def __init__(self, server: EmbeddedPostgres, schema: str, secret: Secret) -> None:
        self.schema = schema
        self.secret = secret
        self.owner = server.conninfo(OWNER)
        self.application = server.conninfo(APPLICATION)
        self.application_parameters = conninfo_to_dict(self.application)

    def execute(self, statement: str, *parameters: object, owner: bool = True) -> list[tuple[object, ...]]:
        """Run one statement with this town's schema first in the search path; the rows it gives."""
        with psycopg.connect(self.owner if owner else self.application, autocommit=True) as connection:
            connection.execute(f"SET search_path = {self.schema}")
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def town(server: EmbeddedPostgres, secret: Secret) -> Iterator[Town]:
    town = Town(server, next(_schemas), secret)
    migrate(town.owner, schema=town.schema, application_role=APPLICATION, secret=secret)
    yield town
    town.execute(f"DROP SCHEMA {town.schema}, {town.schema}_views CASCADE")


class Clock:
    """The time, which goes on only when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2027, 1, 4, 12, tzinfo=UTC)  # Monday, 8 in the morning in La Paz

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def core(town: Town, clock: Clock) -> AsyncIterator[Core]:
    """Log and lane of the town, on the test's clock."""
    log = Log(town.application, schema=town.schema, secret=town.secret)
    lane = Lane(log, secret=town.secret, queue_max=1_000, clock=clock)
    await log.open()
    lane.start()
    yield Core(log=log, lane=lane, secret=town.secret)
    await lane.stop()
    await log.close()


@pytest.fixture
async def other_lane(town: Town, clock: Clock) -> AsyncIterator[Lane]:
    """What another process has on the same log."""
    log = Log(town.application, schema=town.schema, secret=town.secret)
    lane = Lane(log, secret=town.secret, queue_max=1_000, clock=clock)
    await log.open()
    lane.start()
    yield lane
    await lane.stop()
    await log.close()


@pytest.fixture
async def views(town: Town) -> AsyncIterator[Views]:
    """The town's read models, for asking; see tests/projecting.py for who keeps them up to date."""
    views = Views(town.application, schema=town.schema)
    await views.open()
    yield views
    await views.close()
