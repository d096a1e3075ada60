"""Rate limits: for each actor, and for each address of anonymous clients.

Each process counts alone. For each payer it keeps one number, the time until which the requests are paid for (GCRA),
for at most PAYERS_MAX payers.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from domain.errors import Rejected
from infra.running.settings import Settings

BURST_S = 5  # the burst: requests saved up over this time may be made at once
PAYERS_MAX = 100_000  # of each kind; the least recent one is forgotten, and starts afresh
ADDRESSES_MAX = 10_000  # whose parsed form is cached
HOME_BITS = 64  # of an IPv6 address: a client usually has the whole network

S_NS = 1_000_000_000


class Rate:
    """The limit of each payer: `per_s` units a second; 0 for no limit."""

    def __init__(self, per_s: int, clock_ns: Callable[[], int]) -> None:
        self._unit_ns = S_NS // per_s if per_s else 0
        self._clock_ns = clock_ns
        self._paid_until_ns: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paid_until_ns)

    def spend(self, payer: str, units: int = 1) -> int:
        """Spend units, into debt if needed, and return 0. If none is left, return the seconds to wait instead."""
        if not self._unit_ns:
            return 0
        known = self._paid_until_ns
        now_ns = self._clock_ns()
        paid_until_ns = max(known.get(payer, 0), now_ns)
        over_ns = paid_until_ns - now_ns - BURST_S * S_NS
        if over_ns + self._unit_ns > 0:
            known.move_to_end(payer)
            wanted_ns = min(units * self._unit_ns, BURST_S * S_NS)
            return max(-(-(over_ns + wanted_ns) // S_NS), 1)
        known[payer] = paid_until_ns + units * self._unit_ns
        known.move_to_end(payer)
        if len(known) > PAYERS_MAX:
            known.popitem(last=False)
        return 0


class TooManyRequests(
    Rejected,
    es="Hizo demasiadas solicitudes: espere {seconds} segundos e intente de nuevo.",
    en="There are too many requests: try again in {seconds} s.",
):
    seconds: int


class Rates:
    """The rate limits of actors and of addresses."""

    def __init__(self, settings: Settings, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._actors = Rate(settings.requests_per_s, clock_ns)
        self._addresses = Rate(settings.anonymous_per_s, clock_ns)

    def charge(self, subject: str, address: str, units: int = 1) -> None:
        """Charge the subject or, if that is "", the address. Raises TooManyRequests with the seconds to wait."""
        wait_s = self._actors.spend(subject, units) if subject else self._addresses.spend(address, units)
        if wait_s:
            raise TooManyRequests(seconds=wait_s)


def address_of(peer: str, headers: Mapping[bytes, bytes], header: str) -> str:
    """The address under which a client is counted: from the header of a trusted proxy, or the peer's if `header` is "".

    Of a list only the last element counts: the proxy added it, and the client may have made up all before it.
    """
    forwarded = headers.get(header.lower().encode(), b"").decode("latin-1").rpartition(",")[2] if header else ""
    return _home(forwarded) or _home(peer)


@lru_cache(ADDRESSES_MAX)
def _home(text: str) -> str:
    """An IPv4 address, or the network of an IPv6 one, with or without a port; "" for what is neither."""
    address = _parsed(text.strip()) or _parsed(text.strip().rpartition(":")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(IPv6Address(int(address) >> HOME_BITS << HOME_BITS))
        address = address.ipv4_mapped
    return str(address or "")


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
