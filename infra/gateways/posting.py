"""POST requests to servers of others, for which only the status of the response counts."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10.0  # until the status arrives
ANSWER_BYTES_MAX = 16 * 1024  # read only so that the connection can be reused
ANSWER_TIMEOUT_S = 1.0

Failure = Literal["timeout", "unreachable", "broken"]  # why there is no status


class Posting:
    """Sends many POST requests at a time; each server has its own connections.

    The first one opens the client. To load httpx and the system's certificates takes a quarter of the time that the
    scheduler takes to start, and a city without webhooks never needs them.
    """

    def __init__(self) -> None:
        self._http: httpx.AsyncClient | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int | None, Failure | None]:
        """The status of the response, or why there is none. Redirects are not followed, and count as failures."""
        import httpx  # noqa: PLC0415 (see above)

        if self._http is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30)
            self._http = httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits, follow_redirects=False, trust_env=False)
        status = None
        try:
            async with asyncio.timeout(TIMEOUT_S) as time_out:
                async with self._http.stream("POST", url, content=body, headers=headers) as answer:
                    status = answer.status_code
                    time_out.reschedule(asyncio.get_running_loop().time() + ANSWER_TIMEOUT_S)
                    await _drop(answer)
        except (TimeoutError, httpx.TimeoutException):
            return (status, None) if status else (None, "timeout")
        except httpx.ConnectError:
            return None, "unreachable"
        except Exception:  # whatever the receiver or the library does
            return (status, None) if status else (None, "broken")
        return status, None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()


async def _drop(answer: "httpx.Response") -> None:
    dropped = 0
    async for part in answer.aiter_raw():
        dropped += len(part)
        if dropped > ANSWER_BYTES_MAX:
            return


@asynccontextmanager
async def open_posting() -> AsyncIterator[Posting]:
    posting = Posting()
    try:
        yield posting
    finally:
        await posting.close()
