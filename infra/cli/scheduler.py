"""`igob scheduler`."""

from infra.cli.console import DataDir
from infra.cli.messages import plain_errors, say, settings_of


def scheduler(*, data_dir: DataDir = None) -> None:
    """Do what falls due by time, and send webhooks, until stopped. `igob serve` starts it by itself."""
    from infra.cli.parts.scheduler import keep_schedule
    from infra.postgres.database import running

    with plain_errors():
        settings = settings_of(data_dir)
        with running(settings, "igob scheduler", say):
            keep_schedule(settings)
