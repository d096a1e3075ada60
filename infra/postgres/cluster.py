"""The data of the embedded server, and the programs of PostgreSQL that make and inspect them."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from infra.postgres.account import Account, EmbeddedError, environment, user_name, wheel_bin_dir

TOOL_TIMEOUT_S = 300.0
OUTPUT_TAIL_LINES = 12

# The output of pg_controldata for a server that need not recover. There is no other way to know while none runs. It is
# in English because `environment` sets LC_ALL.
STATE_FIELD = "Database cluster state"
CLEAN_STATES = {"shut down", "shut down in recovery"}


class Cluster:
    """The cluster in `data`, and the programs in `bin_dir` (default: the wheel's). `owner` is its superuser."""

    def __init__(self, data: Path, *, bin_dir: Path | None, owner: str, say: Callable[[str], None]) -> None:
        self.data = data
        self._owner = owner
        self._bin_dir = bin_dir
        self._say = say

    @cached_property
    def bin_dir(self) -> Path:
        place = self._bin_dir or wheel_bin_dir()
        if not (place / "postgres").exists():
            raise EmbeddedError(f"There is no program postgres in {place}.")
        return place

    def run(self, account: Account, program: str, *arguments: str) -> str:
        """Run a program of PostgreSQL and return its output. Raises EmbeddedError with its error output."""
        done = subprocess.run(
            [*account.prefix, str(self.bin_dir / program), *arguments],
            cwd="/",
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TOOL_TIMEOUT_S,
            check=False,
        )
        text = done.stdout.decode(errors="replace").strip()
        if done.returncode != 0:
            tail = "\n".join(text.splitlines()[-OUTPUT_TAIL_LINES:])
            raise EmbeddedError(f"{program} failed in {self.data.parent} (exit code {done.returncode}):\n{tail}")
        return text

    def version(self) -> str | None:
        """The major version of the cluster; None if there is none."""
        try:
            return (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def initialise(self, account: Account) -> None:
        """Make a cluster if there is none, else check its version and owner. A kill leaves no partial cluster."""
        for leftover in self.data.parent.glob("pg.new.*"):
            # An orphaned initdb may still write there; it fails when its folder goes.
            shutil.rmtree(leftover, ignore_errors=True)
        version = self.version()
        if version is None:
            self._create_cluster(account)
        else:
            self._check_version(account, version)
        owner = self.data.stat().st_uid
        if owner != account.uid:
            raise EmbeddedError(
                f"{self.data} belongs to {user_name(owner)}, and PostgreSQL would run as {user_name(account.uid)}."
            )

    def _check_version(self, account: Account, version: str) -> None:
        ours = self.run(account, "postgres", "--version").split()[2].split(".")[0]
        if ours != version:
            raise EmbeddedError(
                f"{self.data} was made by PostgreSQL {version}, and {self.bin_dir} holds PostgreSQL {ours}. "
                "Take a dump with the old version and load it into a new folder, or choose another with --data-dir."
            )

    def _create_cluster(self, account: Account) -> None:
        self._say(f"creating a database in {self.data.parent}")
        fresh = Path(tempfile.mkdtemp(prefix="pg.new.", dir=self.data.parent))
        try:
            os.chown(fresh, account.uid, account.gid)
            options = ("-E", "UTF8", "--no-locale", "--data-checksums", "--auth=trust", "-U", self._owner)
            self.run(account, "initdb", *options, "-D", str(fresh))
            fresh.rename(self.data)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        folder_fd = os.open(self.data.parent, os.O_RDONLY)
        os.fsync(folder_fd)
        os.close(folder_fd)

    def unclean(self, account: Account) -> bool:
        """Whether the server ended without a shutdown checkpoint, so that it has to recover."""
        report = self.run(account, "pg_controldata", "-D", str(self.data))
        fields = dict(line.split(":", 1) for line in report.splitlines() if ":" in line)
        return fields[STATE_FIELD].strip() not in CLEAN_STATES
