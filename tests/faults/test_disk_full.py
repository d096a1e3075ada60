"""The disk fills up under load: nobody is told what is not so, and all goes on by itself when there is room again.

A small tmpfs is the disk. To mount it these tests run as root, as `make test-all` does.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from infra.postgres.embedded import OWNER, EmbeddedPostgres
from tests.faults.rig import City, wait_for
from tests.serving import gql

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

DISK_MB = 200  # an empty cluster takes about 45, and the log of some thousand bookings little
CHUNKS_BYTES = (1 << 20, 1 << 12)
BEFORE_ANSWERS = 10  # of some 500: a fast machine must not be done before the disk is full
PATIENCE_S = 40.0  # longer than a committer tries
FULL_S = 3.0  # for how long it stays so once clients have noticed
AGENDAS = '{ agendas(hospital: "h", first: 1) { nodes { id } } }'
TRUE_ANSWERS = {"", "slot_taken", "unavailable", "overloaded", "lost"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with little room, of a disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    options = f"size={DISK_MB}m,mode=0700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    assert mounted.returncode == 0, f"a small disk can't be mounted; run this as root: {mounted.stderr}"
    try:
        yield place
    finally:
        # Lazily: a program that another test starts meanwhile may look at all that is mounted.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """No byte is left on the disk while the block runs."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for chunk_bytes in CHUNKS_BYTES:
                with suppress(OSError):
                    while file.write(b"\1" * chunk_bytes):
                        pass
        assert os.statvfs(disk).f_bavail == 0
        yield
    finally:
        ballast.unlink()


def test_a_full_disk_makes_commits_unavailable(disk: Path) -> None:
    with City(disk / "city", timeout_s=PATIENCE_S, as_a_shell_does=True) as city:
        with city.load():
            city.wait_for_answers(BEFORE_ANSWERS)
            with full(disk):
                seen = len(city.caller.told)
                wait_for(lambda: any(told.code == "unavailable" for told in city.caller.told[seen:]))
                assert gql(city.caller.url, AGENDAS)["data"]["agendas"]["nodes"]  # reading needs no room
                time.sleep(FULL_S)
                assert {told.code for told in city.caller.told} <= TRUE_ANSWERS
            city.wait_until_back()
            time.sleep(1)
        answers = city.check()
        assert answers["accepted"] > 30
        assert "the database stopped" not in city.server.output


def test_a_database_stopped_by_a_full_disk_is_restarted(disk: Path) -> None:
    """A new segment of the write-ahead log finds no room: PostgreSQL panics, and can't recover either."""
    with City(disk / "city", timeout_s=PATIENCE_S, as_a_shell_does=True) as city:
        with city.load():
            city.wait_for_answers(BEFORE_ANSWERS)
            with full(disk):
                with suppress(psycopg.Error), psycopg.connect(EmbeddedPostgres(city.folder).conninfo(OWNER)) as owner:
                    for _ in range(3):
                        owner.execute("SELECT pg_switch_wal()")
                        owner.commit()
                seen = len(city.caller.told)
                wait_for(lambda: any(told.code == "unavailable" for told in city.caller.told[seen:]))
                wait_for(lambda: "the database does not start" in city.server.output)
                assert httpx.get(f"{city.caller.url}/readyz", timeout=5).status_code == 503
                assert city.server.process.poll() is None
                assert {told.code for told in city.caller.told} <= TRUE_ANSWERS
            city.wait_until_back()
            time.sleep(1)
        answers = city.check()
        assert answers["accepted"] > 30
        assert "the database stopped; starting it again" in city.server.output
