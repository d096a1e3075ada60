"""Looks up who has an identity number. Concurrent requests share one query to the log."""

from typing import Any

from api.shared_loads import SharedLoads
from infra.log.log import Log

AT_ONCE_MAX = 200


class PersonLookup:
    """Sends one query to the log at a time. Requests that arrive meanwhile share the next one."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._loads: SharedLoads[str, Any] = SharedLoads(self._load, at_once_max=AT_ONCE_MAX)

    async def state(self, stream: str) -> Any:
        """The state of a stream, without personal data, at a moment no earlier than this call.

        Other callers share the state and must not change it. Raises infra.postgres.connections.Unavailable.
        """
        return await self._loads.load(stream)

    async def _load(self, streams: list[str]) -> list[Any]:
        found = await self._log.load(set(streams), redacted=set(streams))
        return [found[stream].state for stream in streams]
