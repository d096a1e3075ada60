"""`igob projections`: the read models."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App
from rich.console import Console
from rich.table import Table

from infra.cli.console import DataDir, Json, console, write_result
from infra.cli.messages import plain_errors, say, settings_of
from infra.running.settings import SettingError

if TYPE_CHECKING:
    from projections.engine.generations import Places
    from projections.engine.projection import Projection

app = App(name="projections", help="The read models: their state, rebuilds and checks.")


@app.command
def run(*, data_dir: DataDir = None) -> None:
    """Keep the read models up to date until stopped. `igob serve` starts such a process."""
    from infra.cli.parts.projector import keep_read_models
    from infra.postgres.database import running_database

    with plain_errors():
        settings = settings_of(data_dir)
        with running_database(settings, "igob projections run", say):
            keep_read_models(settings)


@app.command
def status(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Show the position of each read model, and how far it is behind the log."""
    from api.contexts import read_models
    from projections.engine.runner import Status, connect, statuses

    def show(found: list[Status], out: Console) -> None:
        table = Table("projection", "version", "position", "behind", "for", "parked", "made anew", box=None)
        for one in found:
            lag_s = "never built" if one.lag_s is None else f"{one.lag_s:.2f} s"
            anew = "" if one.building is None else f"at {one.building}"
            values = (one.name, one.version, one.position, one.lag_events, lag_s, one.parked, anew)
            table.add_row(*("" if value is None else str(value) for value in values))
        out.print(table)

    with _on_views(data_dir, "igob projections status") as (conninfo, places), connect(conninfo) as connection:
        found = statuses(connection, places, read_models().values())
    write_result(found, show, json=json)


@app.command
def parked(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Show streams with an event that a read model could not apply. The read model lacks them from that event on."""
    from api.contexts import read_models
    from projections.engine.generations import Generations, Parked
    from projections.engine.runner import connect

    def show(found: list[Parked], out: Console) -> None:
        for one in found:
            out.print(f"{one.name}: {one.stream} since position {one.position}: {one.error}", soft_wrap=True)
        if not found:
            out.print("nothing is parked")

    with _on_views(data_dir, "igob projections parked") as (conninfo, places), connect(conninfo) as connection:
        generations = Generations(connection, places)
        lives = [live for name in read_models() if (live := generations.live(name))]
        found = [one for live in lives for one in generations.parked(live)]
    write_result(found, show, json=json)


@app.command
def rebuild(name: str, /, *, data_dir: DataDir = None) -> None:
    """Rebuild a read model from the first event, beside the one in use; then switch to it.

    Parameters
    ----------
    name:
            Which one, as `igob projections status` names them.
    """
    from infra.cli.parts.projector import decoder
    from projections.engine import runner

    with _on_views(data_dir, "igob projections rebuild") as (conninfo, places):
        projection = _projection(name)
        with _progress("rebuilding", conninfo, places) as advance:
            done = runner.rebuild(conninfo, places, projection, decoder(), advance=advance)
    assert done is not None  # None only if it was stopped, which does not happen here
    say(f"{name} is generation {done.generation} of version {done.version} now, at position {done.position}")


@app.command
def verify(name: str | None = None, /, *, data_dir: DataDir = None) -> None:
    """Compare read models, row for row, with a rebuild from the first event. Exit status 1 if they differ.

    Parameters
    ----------
    name:
        Which one; all of them by default.
    """
    from api.contexts import read_models
    from infra.cli.parts.projector import decoder
    from projections.engine import runner

    equal = True
    with _on_views(data_dir, "igob projections verify") as (conninfo, places):
        for projection in [_projection(name)] if name else list(read_models().values()):
            with _progress(f"verifying {projection.name}", conninfo, places) as advance:
                found = runner.verify(conninfo, places, projection, decoder(), advance=advance)
            say(str(found))
            equal &= not found.different
    if not equal:
        sys.exit(1)


def _projection(name: str) -> "Projection":
    from api.contexts import read_models

    known = read_models()
    if name not in known:
        raise SettingError(f"there is no projection {name}; there are {', '.join(known)}")
    return known[name]


@contextmanager
def _on_views(data_dir: Path | None, what: str) -> Iterator[tuple[str, "Places"]]:
    """The connection string and the names of the read models in the settings' database, which runs during the block."""
    from infra.postgres.database import application_conninfo, running_database
    from projections.engine.generations import Places
    from projections.engine.runner import Busy

    with plain_errors():
        settings = settings_of(data_dir)
        try:
            with running_database(settings, what, say):
                yield application_conninfo(settings), Places(settings.schema)
        except (Busy, LookupError) as error:
            say(f"igob: {error}")
            sys.exit(1)


@contextmanager
def _progress(what: str, conninfo: str, places: "Places") -> Iterator[Callable[[int], None]]:
    """A progress bar for work along the log. Call it with the position."""
    from rich.progress import Progress

    from projections.engine.runner import connect

    with connect(conninfo) as connection:
        head = places.head(connection)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=head)
        yield lambda position: progress.update(task, completed=position, total=max(head, position))
