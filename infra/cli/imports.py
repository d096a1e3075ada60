"""`igob import`: data from files."""

import sys
from pathlib import Path

from cyclopts import App

from infra.cli.console import DataDir, Json, console, write_json
from infra.cli.messages import plain_errors, say, settings_of

app = App(name="import", help="Bring data in from files.")


@app.command
def agendas(file: Path, /, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Publish the agendas in a CSV file, one per row: see docs/import-agendas.md.

    All rows are checked before the first is published. Importing the same file again publishes nothing twice.

    Parameters
    ----------
    file:
        The file, UTF-8, with a header.
    """
    from datetime import UTC, datetime

    from api.contexts import load_domain
    from infra.imports.agendas import import_file

    load_domain()
    with plain_errors():
        report = import_file(file, settings_of(data_dir), now=datetime.now(UTC), say=say, console=console)
    for line in report.lines():
        say(line)
    if json:
        write_json(report)
    if not report.ok:
        sys.exit(1)
