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

INTERRUPTED = 128 + signal.SIGINT  # exit status, as a shell has it


class Stderr(Console):
    """If its reader has gone, it goes quiet, and the work goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


console = Stderr(stderr=True, highlight=False)

DataDir = Annotated[Path | None, Parameter(help="Folder of the embedded database; IGOB_DATA_DIR, else .igob.")]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65_535))]
Workers = Annotated[int, Parameter(validator=Number(gte=1, lte=64))]
Seed = Annotated[int, Parameter(validator=Number(gte=0, lte=9_999))]  # as many as infra/demo/demo.py has numbers for
Rounds = Annotated[int, Parameter(validator=Number(gte=1, lte=100))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0.5, lte=600))]
Json = Annotated[bool, Parameter(help="Answer for programs.", negative="")]


def write_json(result: object) -> None:
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


def write_result(result: R, show: Callable[[R, Console], None], *, json: bool) -> None:
    """Print the result for programs, or show it to a person."""
    if json:
        write_json(result)
    else:
        show(result, Console())
