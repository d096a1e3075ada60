"""`igob scheduler`."""

from infra.cli.console import DataDir
from infra.cli.messages import plain_errors, say, settings_of


def scheduler(*, data_dir: DataDir = None) -> None:
    """Do work that falls due by time, and send webhooks, until stopped. `igob serve` starts such a process."""
    from infra.cli.parts.scheduler import keep_schedule
    from infra.postgres.database import running_database

    with plain_errors():
        settings = settings_of(data_dir)
        with running_database(settings, "igob scheduler", say):
            keep_schedule(settings)
