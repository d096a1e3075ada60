"""A server on the street: what no honest client sends is refused in so many words, costs a bounded memory, and keeps
nobody from being answered. What is refused by which rule: tests/api/http/test_limits.py.
"""

import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from api.graphql.engine.documents import CHARACTERS_MAX, DOCUMENTS_MAX, TOKENS_MAX
from api.http.limits import BODY_BYTES_MAX, BODY_READ_TIMEOUT_S, VALUES_MAX
from api.http.protocol import HEAD_BYTES_MAX, IDLE_TIMEOUT_S
from api.http.sockets import INIT_TIMEOUT_S
from api.http.worker import WEBSOCKET_BYTES_MAX
from bench.login import bearer
from tests.api.engine.test_limits import doubling, nested
from tests.clusters import prepare
from tests.serving import Serving

ASK_EVERY_S = 0.05
WAIT_MAX_S = 5  # of an honest client, on a machine that is busy otherwise
RSS_GROWTH_MAX_MIB = 256  # of the worker
CALLERS = 8
REPEATS = 5
SLACK_S = 5

HOSPITALS = "{ hospitals(first: 1) { nodes { id } } }"
PUBLISH = "mutation ($input: PublishAgendaInput!) { publishAgenda(input: $input) { errors { code } } }"
REGISTER = "mutation ($input: RegisterHospitalInput!) { registerHospital(input: $input) { errors { code } } }"
GRAPHQL = "application/graphql-response+json"
RIGHT = b'{"query": "{ __typename }"}'
SLOT = {"start": "2027-01-05T12:00:00Z", "minutes": 1}

pytestmark = pytest.mark.long


class Street:
    """A server with one worker, and whoever is in front of it."""

    def __init__(self, folder: Path) -> None:
        self.server = Serving("--data-dir", str(prepare(folder)))
        self.url = self.server.url()
        where = urlsplit(self.url)
        self.address = (where.hostname or "", where.port or 0)
        (self.worker,) = self.server.workers()
        self.http = httpx.Client(
            base_url=self.url, headers={"Authorization": bearer(), "Accept": GRAPHQL}, timeout=30, trust_env=False
        )

    def ask(self, query: str, **variables: Any) -> httpx.Response:
        said = {"query": query, "variables": variables}
        return self.http.post("/graphql", json=said, headers={"Accept-Language": "en"})

    def connect(self, said: bytes = b"") -> socket.socket:
        """A connection of which nothing is heard yet."""
        connection = socket.create_connection(self.address, timeout=WAIT_MAX_S)
        connection.sendall(said)
        return connection

    def hear(self, *said: bytes, timeout_s: float = WAIT_MAX_S) -> bytes:
        """All that the server says to this until it closes the connection."""
        with self.connect() as connection:
            for part in said:
                with suppress(ConnectionError):  # it may have heard enough
                    connection.sendall(part)
            return heard(connection, timeout_s)

    def rss_mib(self) -> float:
        return float(self.worker.memory_info().rss) / 2**20


def heard(connection: socket.socket, timeout_s: float) -> bytes:
    """What comes until the other side closes. Raises TimeoutError if it does not."""
    until_s, found = time.monotonic() + timeout_s, b""
    with suppress(ConnectionResetError):
        while True:
            connection.settimeout(max(0.01, until_s - time.monotonic()))
            part = connection.recv(65_536)
            if not part:
                break
            found += part
    return found


class Honest:
    """A client that asks all the time: how it was answered, and how much memory the worker had meanwhile."""

    def __init__(self, street: Street) -> None:
        self._street = street
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.statuses: list[int] = []
        self.worst_s = 0.0
        self.most_mib = 0.0

    def __enter__(self) -> "Honest":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._street.url, timeout=60, trust_env=False) as http:
            while True:
                begun_s = time.monotonic()
                try:
                    status = http.post("/graphql", json={"query": HOSPITALS}).status_code
                except httpx.HTTPError:
                    status = 0
                self.statuses.append(status)
                self.worst_s = max(self.worst_s, time.monotonic() - begun_s)
                self.most_mib = max(self.most_mib, self._street.rss_mib())
                if self._done.wait(ASK_EVERY_S):
                    return


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    street = Street(tmp_path_factory.mktemp("street") / "city")
    try:
        yield street
    finally:
        street.http.close()
        status = street.server.stop()
    assert status == 0
    for word in ("Traceback", "panicked", "went wrong"):
        assert word not in street.server.output


@pytest.fixture
def street(served: Street) -> Iterator[Street]:
    """Whatever a test does, somebody honest is answered meanwhile, and the worker is the same one, and no glutton."""
    before_mib = served.rss_mib()
    with Honest(served) as honest:
        yield served
    assert set(honest.statuses) == {200}
    assert honest.worst_s < WAIT_MAX_S
    assert honest.most_mib - before_mib < RSS_GROWTH_MAX_MIB
    assert served.worker.is_running()


def many(work: Callable[[int], Any], times: int) -> list[Any]:
    """What it gives for 0, 1, …, by several callers at once."""
    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(work, range(times)))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (nested(21), "fields within each other"),
        ("{ " + "a{" * 600 + "b" + "}" * 600 + " }", "nested too deeply"),
        ('{ hospital(code: ' + "[" * 900 + "]" * 900 + ") { id } }", "nested too deeply"),
        ("{ " + "__typename " * (TOKENS_MAX + 1) + "}", f"more than {TOKENS_MAX} tokens"),
        ("{ " + " ".join(f"a{n}: __typename" for n in range(600)) + " }", "aliases"),
        ("{ " + " ".join(f"...f{n}" for n in range(600)) + " }", "Unknown fragment"),
        ("{ ...a } fragment a on Query { ...b ...b } fragment b on Query { ...a ...a }", "within itself"),
        (doubling(60), "fields, fragments expanded"),
        ("{ __typename }" + "#" * CHARACTERS_MAX, f"longer than {CHARACTERS_MAX} characters"),
        ('{ hospital(code: "\\ud800") { id } }', "Invalid Unicode escape"),
    ],
    ids=["deep", "deeper", "brackets", "tokens", "aliased", "fragments", "cyclic", "exponential", "long", "surrogate"],
)  # fmt: skip
def test_expensive_documents_are_refused(street: Street, document: str, message: str) -> None:
    for answer in many(lambda _: street.ask(document), REPEATS * CALLERS):
        assert answer.status_code == 400
        assert message in json.dumps([error["message"] for error in answer.json()["errors"]])


def test_the_largest_documents_are_answered(street: Street) -> None:
    """As many characters or tokens as allowed, and as slow to check as they get."""
    some = [
        "{ __typename }" + "," * (CHARACTERS_MAX - 14),
        "{ hospitals(first: 1) { nodes { " + "id " * 400 + "} } }",
        "{" + "hospitals(first:1){nodes{id name}} " * 150 + "}",
        "{" + "".join(f"...f{n} " for n in range(15)) + "}"
        + "".join(f" fragment f{n} on Query {{ hospitals(first: 1) {{ nodes {{ id name }} }} }}" for n in range(15)),
    ]  # fmt: skip
    for answer in many(lambda n: street.ask(some[n % len(some)]), len(some) * REPEATS):
        assert (answer.status_code, "errors" in answer.json()) == (200, False)


def test_the_document_cache_is_bounded(street: Street) -> None:
    padding = "," * 1_000
    answers = many(lambda n: street.ask(f"{{ {padding} a{n}: __typename }}").status_code, 3_000)
    assert set(answers) == {200}
    time.sleep(1.5)  # a worker tells of itself once a second
    page = street.http.get("/metrics").text
    (known,) = [line for line in page.splitlines() if line.startswith("igob_documents ")]
    assert float(known.split()[1]) == DOCUMENTS_MAX


def variables(**said: Any) -> bytes:
    return json.dumps({"query": PUBLISH, "variables": {"input": said}}).encode()


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (lambda: b"[" + RIGHT + b", " + RIGHT + b"]", {}, 400, "must be an object"),
        (lambda: b'{"query": "\xed\xa0\x80"}', {}, 400, "not JSON in UTF-8"),
        (lambda: RIGHT, {"Content-Type": "application/json; charset=utf-16"}, 415, "UTF-8"),
        (lambda: RIGHT.decode().encode("utf-16"), {}, 400, "not JSON in UTF-8"),
        (lambda: zlib.compress(b" " * 200_000_000, 1), {"Content-Encoding": "deflate"}, 415, "compressed"),
        (lambda: RIGHT, {"Content-Encoding": "gzip, br"}, 415, "compressed"),
        (lambda: b'{"query": "", "variables": {"a": ' + b"[" * 500_000 + b"]" * 500_000 + b"}}", {}, 400, "too deeply"),
        (lambda: b'{"query": "", "variables": {"a": ' + b"1" * 1_000_000 + b"}}", {}, 400, "not JSON"),
        (lambda: b'{"query": "", "variables": {"a": 1e400}}', {}, 400, "not JSON"),
        (lambda: variables(slots=[{}] * 400_000), {}, 400, f"more than {VALUES_MAX} values"),
        (lambda: variables(**{f"x{n}": 1 for n in range(140_000)}), {}, 400, f"more than {VALUES_MAX} values"),
        (lambda: variables(slots=[{}] * (VALUES_MAX - 100)), {}, 400, "Invalid value"),
        (lambda: variables(**{f"x{n}": 1 for n in range(VALUES_MAX - 100)}), {}, 400, "Invalid value"),
        (lambda: b'{"query": 1, "query": 2, "query": 3}', {}, 400, "`query` must be a string"),
    ],
    ids=["batch", "surrogate", "charset", "utf-16", "bomb", "gzip", "deep", "digits", "infinite", "values", "names",
         "wrong values", "wrong names", "duplicates"],
)  # fmt: skip
def test_expensive_bodies_are_refused(
    street: Street, body: Callable[[], bytes], headers: dict[str, str], status: int, message: str
) -> None:
    content = body()
    fields = {"Content-Type": "application/json", "Accept-Language": "en"} | headers

    def ask(_: int) -> httpx.Response:
        return street.http.post("/graphql", content=content, headers=fields)

    for answer in many(ask, REPEATS):
        assert answer.status_code == status
        assert message in json.dumps([error["message"] for error in answer.json()["errors"]])


def test_the_last_of_repeated_names_counts(street: Street) -> None:
    said = b'{"query": "mutation { nope }", "query": "{ __typename }"}'
    answer = street.http.post("/graphql", content=said, headers={"Content-Type": "application/json"})
    assert answer.json()["data"] == {"__typename": "Query"}


@pytest.mark.parametrize(
    "value", ["1" * 1_900_000, "\ud800", "\x00", "a/" * 900_000], ids=["long", "half", "nul", "parts"]
)
def test_invalid_strings_are_refused_at_their_path(street: Street, value: str) -> None:
    wish = {"idempotencyKey": value, "hospital": "x", "name": "X"}
    said = json.dumps({"query": REGISTER, "variables": {"input": wish}})
    for answer in many(
        lambda _: street.http.post("/graphql", content=said, headers={"Content-Type": "application/json"}), REPEATS
    ):
        assert answer.status_code == 200
        assert answer.json()["data"]["registerHospital"]["errors"] == [{"code": "invalid_input"}]


def test_invalid_tokens_are_refused_in_any_number(street: Street) -> None:
    head, claims, signature = bearer().split(".")

    def ask(n: int) -> httpx.Response:
        wrong = (f"{head}.{claims}.{signature[:-9]}{n:09}", f"Bearer {'a' * 8_000}.b.{n}", f"{head}.{n}.{signature}")
        return street.http.post("/graphql", content=RIGHT, headers={"Authorization": wrong[n % 3]})

    for answer in many(ask, 600):
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["extensions"] == {"code": "token_invalid"}


def post(*headers: str, version: str = "1.1", host: str = "localhost") -> bytes:
    """The head of a request after which the connection ends."""
    lines = [f"POST /graphql HTTP/{version}", f"Host: {host}", "Content-Type: application/json", "Connection: close"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()


LENGTH = f"Content-Length: {len(RIGHT)}"
CHUNKED = "Transfer-Encoding: chunked"
LARGE = b" " * BODY_BYTES_MAX


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ([post(LENGTH), RIGHT], 200),
        ([post(LENGTH, version="1.0"), RIGHT], 200),
        ([post(LENGTH, host="evil.example"), RIGHT], 400),
        ([post(LENGTH).replace(b"Host: localhost\r\n", b""), RIGHT], 400),
        ([post("Content-Length: 1000000000000")], 413),
        ([post("Content-Length: " + "9" * 30)], 400),
        ([post("Content-Length: 5", LENGTH), RIGHT], 400),
        ([post("Content-Length: -5")], 400),
        ([post(CHUNKED), b"%x\r\n" % (BODY_BYTES_MAX + 1), LARGE, b" \r\n"], 413),
        ([post(CHUNKED), b"1\r\n \r\n" * 2_000 + b"0\r\n\r\n"], 400),
        ([post(f"X: {'a' * 2 * HEAD_BYTES_MAX}")], 431),
        ([post(*[f"X-{n}: a" for n in range(200)])], 431),
        ([b"GET /graphql?query=" + b"a" * HEAD_BYTES_MAX + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"], 414),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500 + b"\r\n\r\n"], 400),
        ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 400),
    ],
    ids=["right", "old", "other host", "no host", "announced", "digits", "two lengths", "negative", "chunked",
         "many chunks", "long header", "many headers", "long line", "tls", "http/2"],
)  # fmt: skip
def test_malformed_http_is_answered_or_refused(street: Street, said: list[bytes], status: int | None) -> None:
    """None: the connection is closed without a word."""
    for answer in many(lambda _: street.hear(*said), REPEATS):
        assert answer[:13].replace(b"1.0", b"1.1") == (b"HTTP/1.1 %d " % status if status else b"")


def test_pipelined_requests_are_answered_in_order(street: Street) -> None:
    asked = [
        post(LENGTH, f"X-Correlation-Id: p-{n}").replace(b"Connection: close\r\n", b"") + RIGHT for n in range(200)
    ]
    last = post(LENGTH, "X-Correlation-Id: last") + RIGHT
    answers = street.hear(b"".join(asked) + last, timeout_s=30).split(b"HTTP/1.1 ")[1:]
    assert all(answer.startswith(b"200 ") for answer in answers)
    texts = [answer.lower().partition(b"x-correlation-id: ")[2].split(b"\r\n")[0] for answer in answers]
    assert texts == [*(b"p-%d" % n for n in range(200)), b"last"]


def connections(street: Street) -> int:
    return sum(one.status == psutil.CONN_ESTABLISHED for one in street.worker.net_connections("tcp"))


def wait_until_few(street: Street, timeout_s: float = WAIT_MAX_S) -> None:
    """Until the worker has hardly a connection with clients left."""
    until_s = time.monotonic() + timeout_s
    while connections(street) > 50:
        assert time.monotonic() < until_s
        time.sleep(0.1)


def test_an_aborted_request_leaves_nothing_behind(street: Street) -> None:
    for n in range(600):
        connection = street.connect(post("Content-Length: 1000") + b'{"query": ')
        if n % 2:  # not even a farewell
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    wait_until_few(street)


SHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
FRAME = struct.pack("!BBQI", 0x81, 0x80 | 127, WEBSOCKET_BYTES_MAX, 0) + b"a" * 100_000  # the beginning of one
TOO_LARGE = struct.pack("!BBQI", 0x81, 0x80 | 127, WEBSOCKET_BYTES_MAX + 1, 0)


def shaken(street: Street, then: bytes = b"") -> socket.socket:
    """A WebSocket that was opened; its client says this and no more."""
    connection = street.connect(SHAKE)
    assert b" 101 " in connection.recv(4_096)
    connection.sendall(then)
    return connection


def test_a_message_that_announces_too_many_bytes_is_refused(street: Street) -> None:
    with shaken(street, TOO_LARGE) as connection:
        assert heard(connection, SLACK_S)[2:4] == struct.pack("!H", 1009)


def test_silent_connections_do_not_block_others(street: Street) -> None:
    with ExitStack() as crowd:
        for _ in range(1_500):
            crowd.enter_context(street.connect())
        for said in (b"GET /hea", post(LENGTH) + RIGHT[:-1], b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            for _ in range(300):
                crowd.enter_context(street.connect(said))
        silent = [crowd.enter_context(shaken(street, then)) for then in (b"", FRAME) for _ in range(100)]
        time.sleep(1)
        assert street.ask(HOSPITALS).status_code == 200
        for connection in silent:
            farewell = heard(connection, INIT_TIMEOUT_S + SLACK_S)
            assert farewell[2:4] == struct.pack("!H", 4408)
    wait_until_few(street)


def test_slow_clients_have_a_time_limit(street: Street) -> None:
    """Each of these sends a byte a second, or none."""
    slow = {
        b"": b"",
        b"GET /hea": b"",
        b"GET /healthz HTTP/1.1\r\n": b"a",
        b"PRI * HT": b"",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n": b"",
        post("Content-Length: 1000"): b" ",
        post(CHUNKED): b"1\r\n \r\n",
    }
    last_s = time.monotonic() + max(BODY_READ_TIMEOUT_S, IDLE_TIMEOUT_S) + SLACK_S
    with ExitStack() as crowd:
        these = [(said, [crowd.enter_context(street.connect(said)) for _ in range(200)]) for said in slow]
        while time.monotonic() < last_s:
            for said, some in these:
                for connection in some:
                    with suppress(OSError):
                        connection.sendall(slow[said])
            time.sleep(1)
        for said, some in these:
            answers = {heard(connection, 0.5).partition(b"\r\n")[0] for connection in some}
            expected = {b"POST": b"HTTP/1.1 408 Request Timeout"}.get(said[:4], b"")
            expected = b"HTTP/1.1 200 OK" if said.endswith(b"localhost\r\n\r\n") else expected
            assert answers == {expected}, said
    wait_until_few(street)
