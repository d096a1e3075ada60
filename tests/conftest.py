"""One embedded PostgreSQL for the whole run; a schema of its own for each test."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import infra.postgres.embedded
from api.contexts import load_domain
from bench import login
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.log import Log
from infra.postgres.embedded import EmbeddedPostgres
from infra.postgres.views import Views
from infra.running.secret import Secret
from tests.clusters import prepare
from tests.programs import UNSYNCED
from tests.towns import Town, Towns

# A shell starts what runs in the background deaf to Ctrl-C, and programs that tests start and end by it would be, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Each client of httpx reads the certificates of all authorities, which takes 30 ms. Nothing here speaks TLS: there are
# none in this folder.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)

# Most of what tests write are data folders, which are synced, and gone a second later.
MEMORY, MEMORY_BYTES_MIN = Path("/dev/shm"), 8 * 2**30
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_MIN:
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None  # or the former one is remembered

load_domain()

SECRET = bytes.fromhex(login.SECRET)
LONGEST = ("faults", "conformance", "infra")  # folders of tests most of which start programs


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start with the slowest files, so that parallel processes end at about the same time.

    A file is slow if a test of it has a longer time limit than usual.
    """
    root = Path(__file__).parent
    limits_s = dict.fromkeys((item.path for item in items), float(config.getini("timeout")))
    for item in items:
        if limit := item.get_closest_marker("timeout"):
            limits_s[item.path] = max(limits_s[item.path], limit.args[0])
    items.sort(key=lambda item: (-limits_s[item.path], item.path.relative_to(root).parts[0] not in LONGEST))


def pytest_collection_finish() -> None:
    """Exclude programs, schema and tests from garbage collection: they stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The embedded server; IGOB_TEST_POSTGRES_BIN names other binaries for all tests, such as those of Debian."""
    binaries = os.environ.get("IGOB_TEST_POSTGRES_BIN")
    with tempfile.TemporaryDirectory(prefix="igob-test-") as folder, pytest.MonkeyPatch.context() as patch:
        for name, value in UNSYNCED.items():
            patch.setitem(infra.postgres.embedded.SETTINGS, name, value)
        place = Path(folder) / "igob"
        postgres = EmbeddedPostgres(place if binaries else prepare(place), bin_dir=Path(binaries) if binaries else None)
        with postgres.hold("tests"):
            postgres.start()
            patch.undo()
            yield postgres
            postgres.stop()


@pytest.fixture(scope="session")
def secret() -> Secret:
    return Secret(SECRET)


@pytest.fixture(scope="session")
def towns(server: EmbeddedPostgres, secret: Secret) -> Iterator[Towns]:
    with closing(Towns(server, secret)) as towns:
        yield towns


@pytest.fixture
def read_models() -> None:
    """Gives the town of the test all read models, empty; other towns have none until they begin them."""


@pytest.fixture
def town(towns: Towns, request: pytest.FixtureRequest) -> Iterator[Town]:
    with towns.town(read_models="read_models" in request.fixturenames) as town:
        yield town


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime(2027, 1, 4, 12, tzinfo=UTC)  # Monday, 8 in the morning in La Paz

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def log(town: Town) -> AsyncIterator[Log]:
    log = Log(town.application, schema=town.schema, secret=town.secret)
    await log.open()
    yield log
    await log.close()


@pytest.fixture
async def core(log: Log, secret: Secret, clock: Clock) -> AsyncIterator[Core]:
    """The town's log and committer, on the test's clock."""
    committer = Committer(log, secret=secret, queue_max=1_000, clock=clock)
    committer.start()
    yield Core(log=log, committer=committer, secret=secret)
    await committer.stop()


@pytest.fixture
async def other_committer(town: Town, clock: Clock) -> AsyncIterator[Committer]:
    """The committer of another process on the same log."""
    log = Log(town.application, schema=town.schema, secret=town.secret)
    committer = Committer(log, secret=town.secret, queue_max=1_000, clock=clock)
    await log.open()
    committer.start()
    yield committer
    await committer.stop()
    await log.close()


@pytest.fixture
async def views(town: Town) -> AsyncIterator[Views]:
    """The town's read models, for queries; tests/projecting.py keeps them up to date."""
    views = Views(town.application, schema=town.schema)
    await views.open()
    yield views
    await views.close()
