"""The projector. `igob serve` starts this module instead of a subcommand: the command line is slow to import."""

import signal
import threading

from api.contexts import read_models
from infra.cli.messages import plain_errors, say
from infra.log.codec import Codec
from infra.postgres.database import application_conninfo
from infra.running.garbage import collect_seldom
from infra.running.part import PARENT_POLL_S, server_is_gone
from infra.running.settings import Settings, from_environment
from projections.engine.projection import Decode
from projections.engine.runner import Runner


def keep_read_models(settings: Settings) -> None:
    """Keep the read models up to date until SIGTERM or SIGINT, or `igob serve` is gone. The database must run."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    collect_seldom()
    runner = Runner(
        application_conninfo(settings),
        schema=settings.schema,
        decode=decoder(),
        projections=read_models().values(),
        say=say,
    )
    working = threading.Thread(target=runner.run)
    working.start()
    while not stop.wait(PARENT_POLL_S) and not server_is_gone():
        pass
    runner.stop()
    working.join()


def decoder() -> Decode:
    """A decoder for events without personal fields: read models take no others."""
    codec = Codec()
    return lambda name, state: codec.decode(name, state, {})


def main() -> None:
    """Entry point of the process."""
    with plain_errors():
        keep_read_models(from_environment())
