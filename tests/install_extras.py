"""Install what `make test-all` needs beyond Python, from Debian: PostgreSQL, 15 or newer, whose folder of binaries it
prints, Node with npm, and Chromium.
"""

import os
import shutil
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
    """Install what is not there. Raises SystemExit with what to do if that is not possible."""
    missing = [] if debian_postgres() else ["postgresql"]
    missing += [
        package
        for package, command in (("nodejs", "node"), ("npm", "npm"), ("chromium", "chromium"))
        if not shutil.which(command)
    ]
    if missing:
        if os.geteuid() != 0:
            raise SystemExit(f"make test-all needs Debian's {', '.join(missing)}: apt-get install them, as root")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-qq", *command], check=True, env=quiet, stdout=sys.stderr)
    path = debian_postgres()
    if path is None:
        raise SystemExit(f"Debian's PostgreSQL is older than {VERSION_MIN}")
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{install()}\n")
