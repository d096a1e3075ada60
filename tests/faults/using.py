"""A program that uses the database as a subcommand does, says how far it is, and goes on when it is told.

Its words are the data folder and the secret.
"""

import sys
from pathlib import Path

import psycopg

from infra.cli.messages import say
from infra.postgres.database import application_conninfo, running_database
from infra.running.settings import Settings

MAIN = "tests.faults.using:main"


def main() -> None:
    settings = Settings(data_dir=Path(sys.argv[1]), secret=sys.argv[2])
    with running_database(settings, "a test", say):
        print("uses", flush=True)  # noqa: T201
        sys.stdin.readline()
        with psycopg.connect(application_conninfo(settings)) as connection:
            print(connection.execute("SELECT count(*) FROM la_paz.events").fetchone(), flush=True)  # noqa: T201
