"""Describes the machine of a benchmark, without its name and paths, because results are published."""

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import psycopg

from infra.postgres.embedded import APPLICATION, EmbeddedPostgres

GIT_LIMIT_S = 10
MEASURED_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")


class Machine(msgspec.Struct):
    """The machine. Numbers of different machines or days can't be compared one by one.

    `load` is the number of runnable processes in the minute before: above 0, other work was measured too.
    """

    cpu: str
    cores: int
    memory_gib: float
    load: float
    system: str
    python: str
    database: dict[str, str]

    def described(self) -> str:
        """A line of text for people."""
        facts = ", ".join(f"{name} {value}" for name, value in self.database.items())
        return f"{self.cpu}, {self.cores} cores, {self.memory_gib} GiB, load {self.load}, Python {self.python}; {facts}"


def machine(database: dict[str, str], *, load: float) -> Machine:
    """This machine, with the server's `database_facts`."""
    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 0,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        load=load,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        database=database,
    )


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    described = subprocess.run(
        [git, "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=GIT_LIMIT_S,
    )
    return described.stdout.strip()


@contextmanager
def own_server(what: str) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server in a temporary folder while the block runs."""
    with tempfile.TemporaryDirectory(prefix="igob-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "pg", say=lambda _: None)
        with server.hold(what):
            server.start()
            try:
                yield server
            finally:
                server.stop()


def database_facts(server: EmbeddedPostgres) -> dict[str, str]:
    """Settings that affect the speed or safety of an append, and the file system."""
    with psycopg.connect(server.conninfo(APPLICATION)) as connection:
        facts = {name: str(connection.execute(f"SHOW {name}").fetchone()[0]) for name in MEASURED_SETTINGS}  # type: ignore[index]
    mounts = [disk for disk in psutil.disk_partitions(all=True) if server.folder.is_relative_to(disk.mountpoint)]
    return facts | {"file_system": max(mounts, key=lambda disk: len(disk.mountpoint)).fstype if mounts else "unknown"}
