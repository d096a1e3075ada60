"""What all subcommands share: messages to people, one-line errors, results, types of parameters."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from infra.running.settings import SettingError, Settings, from_environment

R = TypeVar("R")

INTERRUPTED = 128 + signal.SIGINT  # the exit status, as in a shell


class Stderr(Console):
    """A console on stderr that ignores errors: if its reader has gone, the work goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


console = Stderr(stderr=True, highlight=False)

DataDir = Annotated[Path | None, Parameter(help="Folder of the embedded database; IGOB_DATA_DIR, else .igob.")]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65_535))]
Workers = Annotated[int, Parameter(validator=Number(gte=1, lte=64))]
Seed = Annotated[
    int, Parameter(validator=Number(gte=0, lte=9_999))
]  # infra/demo/demo.py has identity numbers for this many
Rounds = Annotated[int, Parameter(validator=Number(gte=1, lte=100))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0.5, lte=600))]
Json = Annotated[bool, Parameter(help="Print JSON for programs.", negative="")]


def say(text: str) -> None:
    """Print a line to stderr. Never raises: the work matters more than the message."""
    with suppress(OSError, ValueError):  # stderr is full, closed, or can't carry the text
        console.print(text, markup=False, soft_wrap=True)


def settings_of(data_dir: Path | None) -> Settings:
    """The settings of the environment, with another data folder if one is given. Raises SettingError."""
    settings = from_environment()
    return msgspec.structs.replace(settings, data_dir=data_dir) if data_dir else settings


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print an error that the user can fix as one line, and exit with status 1. Bugs keep their traceback."""
    import psycopg

    from infra.postgres.account import EmbeddedError
    from infra.postgres.connections import Unavailable
    from infra.postgres.folder import FolderHeld
    from infra.postgres.migrate import MigrationError
    from infra.postgres.scrub import ScrubError

    mendable = (
        SettingError,
        FolderHeld,
        EmbeddedError,
        MigrationError,
        ScrubError,
        psycopg.OperationalError,
        Unavailable,
        OSError,
    )
    try:
        yield
    except mendable as error:
        say(f"igob: {error}")
        sys.exit(1)


def write_json(result: object) -> None:
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


def write_result(result: R, show: Callable[[R, Console], None], *, json: bool) -> None:
    """Print the result as JSON for programs, or show it to people."""
    if json:
        write_json(result)
    else:
        show(result, Console())
