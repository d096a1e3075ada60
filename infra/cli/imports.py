"""`igob import`: data from files."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from infra.cli.console import DataDir, Json, console, write_json
from infra.cli.messages import plain_errors, say, settings_of

if TYPE_CHECKING:
    from infra.imports.checking import Import

app = App(name="import", help="Import CSV files.")

DryRun = Annotated[bool, Parameter(negative=(), help="Check the file and write nothing.")]
Replace = Annotated[
    bool,
    Parameter(
        negative=(),
        help="Replace what is registered under the same code with other details; without it, such a row is refused.",
    ),
]


@app.command
def agendas(file: Path, /, *, dry_run: DryRun = False, data_dir: DataDir = None, json: Json = False) -> None:
    """Publish the agendas in a CSV file, one per row: see docs/imports.md.

    All rows are checked before the first is published. Importing the same file again publishes nothing twice.

    Parameters
    ----------
    file:
        The file, UTF-8, with a header.
    """
    from infra.imports.agendas import AGENDA_IMPORT

    _import(file, AGENDA_IMPORT, dry_run=dry_run, data_dir=data_dir, json=json)


def _registers(name: str) -> Callable[..., None]:
    """The subcommand that registers what is in a file."""

    def register(
        file: Path,
        /,
        *,
        replace: Replace = False,
        dry_run: DryRun = False,
        data_dir: DataDir = None,
        json: Json = False,
    ) -> None:
        from infra.imports.registrations import registration_import

        kind = registration_import(name, replace=replace)
        _import(file, kind, dry_run=dry_run, data_dir=data_dir, json=json)

    register.__doc__ = f"""Register the {name} in a CSV file, one per row: see docs/imports.md.

    All rows are checked before the first is registered. Importing the same file again changes nothing.

    Parameters
    ----------
    file:
        The file, UTF-8, with a header.
    """
    return register


for _name in ("hospitals", "specialties", "practitioners", "rooms"):
    app.command(_registers(_name), name=_name)


@app.command
def ufv(
    file: Path,
    /,
    *,
    replace: Annotated[
        bool,
        Parameter(negative=(), help="Correct days that have another value; without it, such a row is refused."),
    ] = False,
    dry_run: DryRun = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Publish the UFV values in a CSV file, one day per row: see docs/imports.md.

    All rows are checked before the first is published. Importing the same file again changes nothing.

    Parameters
    ----------
    file:
        The file, UTF-8, with a header.
    """
    from infra.imports.taxes import ufv_import

    _import(file, ufv_import(replace=replace), dry_run=dry_run, data_dir=data_dir, json=json)


@app.command
def objects(file: Path, /, *, dry_run: DryRun = False, data_dir: DataDir = None, json: Json = False) -> None:
    """Register the taxable objects in a CSV file, one per row: see docs/imports.md.

    All rows are checked before the first is registered. Importing the same file again changes nothing.

    Parameters
    ----------
    file:
        The file, UTF-8, with a header.
    """
    from infra.imports.taxes import OBJECT_IMPORT

    _import(file, OBJECT_IMPORT, dry_run=dry_run, data_dir=data_dir, json=json)


@app.command
def assessments(file: Path, /, *, dry_run: DryRun = False, data_dir: DataDir = None, json: Json = False) -> None:
    """Assess the taxes in a CSV file, one object and year per row: see docs/imports.md.

    All rows are checked before the first is assessed. Importing the same file again changes nothing.

    Parameters
    ----------
    file:
        The file, UTF-8, with a header.
    """
    from infra.imports.taxes import ASSESSMENT_IMPORT

    _import(file, ASSESSMENT_IMPORT, dry_run=dry_run, data_dir=data_dir, json=json)


def _import(file: Path, kind: "Import[Any, Any]", *, dry_run: bool, data_dir: Path | None, json: bool) -> None:
    """Import the file, report, and exit with status 1 if a row was refused."""
    from datetime import UTC, datetime

    from api.contexts import load_domain
    from infra.imports.importing import import_file

    load_domain()
    with plain_errors():
        report = import_file(
            file,
            kind,
            settings_of(data_dir),
            now=datetime.now(UTC),
            say=say,
            console=console,
            dry_run=dry_run,
        )
    for line in report.lines():
        say(line)
    if json:
        write_json(report)
    if not report.ok:
        sys.exit(1)
