"""How often somebody may ask: so often each actor, and each address of those who say no name.

Counted in this process alone. Of everybody it is kept until when what they asked is paid for (GCRA): one number, and
no more of them than PAYERS_MAX.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from domain.errors import Rejected
from infra.running.settings import Settings

BURST_S = 5  # who asked nothing for so long may ask at once what they might have asked meanwhile
PAYERS_MAX = 100_000  # remembered of each kind; who has not asked for longest is forgotten, and begins anew
ADDRESSES_MAX = 10_000  # of which it is remembered what they are
HOME_BITS = 64  # of an IPv6 address: whoever has one has all that begin so

S_NS = 1_000_000_000


class Rate:
    """What each payer may ask: `per_s` units a second, 0 for as many as they like."""

    def __init__(self, per_s: int, clock_ns: Callable[[], int]) -> None:
        self._unit_ns = S_NS // per_s if per_s else 0
        self._clock_ns = clock_ns
        self._paid_until_ns: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paid_until_ns)

    def spend(self, payer: str, units: int = 1) -> int:
        """Take so many: 0 if there was one to be had, what was not there is a debt. Else none: the seconds to wait."""
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
    es="Son demasiadas solicitudes: repita en {seconds} s.",
    en="These are too many requests: repeat it in {seconds} s.",
):
    seconds: int


class Rates:
    """What actors may ask, and addresses."""

    def __init__(self, settings: Settings, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._actors = Rate(settings.requests_per_s, clock_ns)
        self._addresses = Rate(settings.anonymous_per_s, clock_ns)

    def charge(self, subject: str, address: str, units: int = 1) -> None:
        """Of the subject; of nobody, of the address. Raises TooManyRequests with the seconds to wait."""
        wait_s = self._actors.spend(subject, units) if subject else self._addresses.spend(address, units)
        if wait_s:
            raise TooManyRequests(seconds=wait_s)


def address_of(peer: str, headers: Mapping[bytes, bytes], header: str) -> str:
    """By what a client counts: its address as the trusted proxy says it in that header, "" for none; else the peer's.

    Of a list only the last element counts: it is the proxy's own, all before it may be the client's invention.
    """
    said = headers.get(header.lower().encode(), b"").decode("latin-1").rpartition(",")[2] if header else ""
    return _home(said) or _home(peer)


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
