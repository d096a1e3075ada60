"""The command `igob`. Subcommands import what they need when they run, so that `igob --help` is quick."""

import signal
from types import FrameType

from cyclopts import App

from infra.cli import bench, database, imports, projections
from infra.cli.demo import demo
from infra.cli.request import request
from infra.cli.scheduler import scheduler
from infra.cli.schema import schema
from infra.cli.serve import serve
from infra.cli.tokens import token
from infra.running.terminating import TERMINATED
from infra.version import VERSION

app = App(name="igob", help="iGob Core: the transactional core of a city.", version=VERSION)
for command in (serve, demo, scheduler, token, request, schema, database.app, projections.app, imports.app, bench.app):
    app.command(command)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Exit as after an error, so that everything started is stopped. Further signals do not interrupt that."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # not SIG_IGN, which child processes would inherit
    raise SystemExit(TERMINATED)


def main() -> None:
    """Entry point of the command."""
    signal.signal(signal.SIGTERM, _end)
    app()
