"""What all subcommands share: the console, results, types of parameters."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

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


def write_json(result: object) -> None:
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


def write_result(result: R, show: Callable[[R, Console], None], *, json: bool) -> None:
    """Print the result as JSON for programs, or show it to people."""
    if json:
        write_json(result)
    else:
        show(result, Console())
