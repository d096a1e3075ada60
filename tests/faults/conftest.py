"""A PostgreSQL of somebody's own, for the programs that are tested here."""

from collections.abc import Iterator

import pytest

from infra.postgres.embedded import EmbeddedPostgres
from tests.clusters import prepare
from tests.install_extras import debian_postgres


@pytest.fixture(scope="module", params=["wheel", pytest.param("debian", marks=pytest.mark.long)])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that we start, but the program takes for somebody's own; the same for all tests of a module."""
    folder = tmp_path_factory.mktemp("own") / "city"
    binaries = None
    if request.param == "debian":
        binaries = debian_postgres()
        assert binaries, "run: python -m tests.install_extras"
    server = EmbeddedPostgres(folder if binaries else prepare(folder), bin_dir=binaries)
    with server.hold("tests"):
        server.start()
        yield server
        server.stop()
