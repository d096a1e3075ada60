"""The program's log: JSON lines on stderr about what happened and where, without any content of requests.

Messages of exceptions and local variables quote what people sent: names, numbers, statements. An erasure could not
reach them in a log file, so they are not written.
"""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FRAMES_MAX = 20


@contextmanager
def _without(module: str) -> Iterator[None]:
    """While the block runs, importing the module fails as if it were not installed."""
    found = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]  # Python refuses such an import
    try:
        yield
    finally:
        del sys.modules[module]
        if found:
            sys.modules[module] = found


# structlog imports rich, if it can, for coloured tracebacks. Our lines are JSON and have none, and rich takes a fifth
# of the time that the scheduler takes to start.
with _without("rich"):
    import structlog


class _Stderr:
    """Writes a line, and never raises: the work must not fail because a message can't be written."""

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    error = info = msg


structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ],
    logger_factory=lambda *_: _Stderr(),
    cache_logger_on_first_use=False,
)
_log = structlog.get_logger()


def log_request(**facts: str | float | list[str] | None) -> None:
    """Log a request, with our own names and numbers only."""
    _log.info("request", **facts)


def log_failure(what: str, error: BaseException, **facts: str | float | None) -> None:
    """Log a failure: the error's type, its SQLSTATE if any, and the place; not its message."""
    _log.error(
        what,
        error=_type(error),
        causes=[_type(cause) for cause in _causes(error)],
        sqlstate=getattr(error, "sqlstate", None),
        frames=_frames(error),
        **facts,
    )


def _type(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    while (cause := error.__cause__ or error.__context__) is not None and len(causes) < FRAMES_MAX:
        causes.append(cause)
        error = cause
    return causes


def _frames(error: BaseException) -> list[str]:
    frames: list[Any] = list(traceback.extract_tb(error.__traceback__))[-FRAMES_MAX:]
    return [f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in frames]
