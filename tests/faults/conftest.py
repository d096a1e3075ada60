"""A PostgreSQL of somebody's own, for the programs that are tested here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.postgres.embedded import EmbeddedPostgres
from tests.install_extras import debian_postgres
from tests.serving import prepare


@pytest.fixture(params=["wheel", pytest.param("debian", marks=pytest.mark.long)])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that we start, but the program takes for somebody's own."""
    binaries = None
    if request.param == "debian":
        binaries = debian_postgres()
        assert binaries, "run: python -m tests.install_extras"
    folder = tmp_path / "own" if binaries else prepare(tmp_path / "own")
    server = EmbeddedPostgres(folder, bin_dir=binaries)
    with server.hold("tests"):
        server.start()
        yield server
        server.stop()
