"""Messages to the person, errors in one line, and settings; without cyclopts and rich, which are slow to import."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from infra.running.settings import SettingError, Settings, from_environment


def say(text: str) -> None:
    """Print a line to stderr. Never raises: the work matters more than the message."""
    with suppress(OSError, ValueError):  # stderr is full, closed, or can't carry the text
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def settings_of(data_dir: Path | None) -> Settings:
    """The settings of the environment, with another data folder if one is given. Raises SettingError."""
    settings = from_environment()
    return msgspec.structs.replace(settings, data_dir=data_dir) if data_dir else settings


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print an error that the user can fix as one line, and exit with status 1. Bugs keep their traceback."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, _mendable()):
            raise
        say(f"igob: {error}")
        sys.exit(1)


def _mendable() -> tuple[type[Exception], ...]:
    """Errors that the user can fix. Their modules are slow to import: that is only done after an error."""
    import psycopg

    from infra.postgres.account import EmbeddedError
    from infra.postgres.connections import Unavailable
    from infra.postgres.folder import FolderHeld
    from infra.postgres.migrate import MigrationError
    from infra.postgres.scrub import ScrubError

    return (
        SettingError,
        FolderHeld,
        EmbeddedError,
        MigrationError,
        ScrubError,
        psycopg.OperationalError,
        Unavailable,
        OSError,
    )
