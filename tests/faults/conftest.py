"""A PostgreSQL of somebody's own, for the programs that are tested here."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.postgres.embedded import EmbeddedPostgres
from tests.install_extras import debian_postgres
from tests.serving import prepare

BINARIES = ["wheel", pytest.param("debian", marks=pytest.mark.long)]


@pytest.fixture(params=BINARIES)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that we start, but the program takes for somebody's own."""
    with _started(request.param, tmp_path) as server:
        yield server


@pytest.fixture(scope="module", params=BINARIES)
def shared_own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """The same for all tests of a module."""
    with _started(request.param, tmp_path_factory.mktemp("own")) as server:
        yield server


@contextmanager
def _started(kind: str, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    binaries = None
    if kind == "debian":
        binaries = debian_postgres()
        assert binaries, "run: python -m tests.install_extras"
    folder = tmp_path / "own" if binaries else prepare(tmp_path / "own")
    server = EmbeddedPostgres(folder, bin_dir=binaries)
    with server.hold("tests"):
        server.start()
        yield server
        server.stop()
