"""`igob db`: the embedded database, and migrations."""

import sys
from typing import TYPE_CHECKING

import msgspec
from cyclopts import App

from infra.cli.console import DataDir, Json, console, write_json
from infra.cli.messages import plain_errors, say, settings_of
from infra.running.settings import SettingError, Settings

if TYPE_CHECKING:
    from infra.postgres.embedded import EmbeddedPostgres

app = App(name="db", help="The embedded database, and migrations.")


@app.command
def start(*, data_dir: DataDir = None) -> None:
    """Start the embedded database and leave it running."""
    with plain_errors():
        server = _embedded(settings_of(data_dir))
        with server.hold("igob db start"):
            server.start(keep=True)
        say(f"running; connect with: {server.conninfo('igob_app')}")


@app.command
def stop(*, data_dir: DataDir = None) -> None:
    """Stop the embedded database."""
    with plain_errors():
        server = _embedded(settings_of(data_dir))
        with server.hold("igob db stop"):
            server.stop()
        say("stopped")


@app.command
def migrate(*, data_dir: DataDir = None) -> None:
    """Bring the schema up to date."""
    from infra.postgres.database import bring_up_to_date, owner_conninfo, running_database

    with plain_errors():
        settings = settings_of(data_dir)
        if settings.database_url:
            owner_conninfo(settings)  # fails before anything is changed
        with running_database(settings, "igob db migrate", say):
            bring_up_to_date(settings)
        say(f"schema {settings.schema} is up to date")


@app.command
def scrub(*, data_dir: DataDir = None) -> None:
    """Overwrite what is left on disk of the keys of erased persons. docs/operations.md says what it does not reach."""
    from rich.progress import Progress

    from infra.postgres.database import owner_conninfo, running_database
    from infra.postgres.scrub import scrub as overwrite

    with plain_errors():
        settings = settings_of(data_dir)
        if settings.database_url:
            owner_conninfo(settings)  # fails before anything is changed
        with (
            running_database(settings, "igob db scrub", say),
            Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("overwriting", total=None)
            done = overwrite(
                owner_conninfo(settings),
                schema=settings.schema,
                say_total=lambda total: progress.update(task, total=total),
                advance=lambda: progress.advance(task),
            )
    say("the table of keys was rewritten; earlier copies (backups, archived WAL, replicas) are not affected")
    if not done.reached_wal:
        say("igob: the WAL and old planner statistics were not overwritten: run it as a superuser (docs/operations.md)")
        sys.exit(1)
    say(f"{done.wal_segments} segments of the WAL were overwritten")


@app.command
def status(*, data_dir: DataDir = None, json: Json = False) -> None:
    """Show the state of the embedded database."""
    with plain_errors():
        found = _embedded(settings_of(data_dir)).status()
        if json:
            write_json(found)
            return
        sys.stdout.write(
            "".join(f"{name}: {value}\n" for name, value in msgspec.to_builtins(found).items() if value is not None)
        )


def _embedded(settings: Settings) -> "EmbeddedPostgres":
    from infra.postgres.database import embedded

    server = embedded(settings, say)
    if server is None:
        raise SettingError("IGOB_DATABASE_URL names a database of your own: start and stop it yourself")
    return server
