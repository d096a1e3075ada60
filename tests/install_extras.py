"""Install what `make test-all` needs beyond Python: Debian's PostgreSQL, 15 or newer. Prints its binaries' folder."""

import os
import subprocess
import sys
from pathlib import Path

VERSION_MIN = 15


def debian_postgres() -> Path | None:
    """The binaries of the oldest Debian PostgreSQL that is new enough for us, if any is installed."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "postgres").exists()]
    fit = [path for path in found if path.parent.name.isdecimal() and int(path.parent.name) >= VERSION_MIN]
    return min(fit, key=lambda path: int(path.parent.name), default=None)


def install() -> Path:
    """Install it unless it is there. Raises SystemExit with what to do if that is not possible."""
    if not debian_postgres():
        if os.geteuid() != 0:
            raise SystemExit("make test-all needs Debian's PostgreSQL: apt-get install postgresql, as root")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet, stdout=sys.stderr)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "postgresql"],
            check=True,
            env=quiet,
            stdout=sys.stderr,
        )
    path = debian_postgres()
    if path is None:
        raise SystemExit(f"Debian's PostgreSQL is older than {VERSION_MIN}")
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{install()}\n")
