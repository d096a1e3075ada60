"""The clients of the benchmarks over HTTP: what they count, and that they measure a server that stops for a while."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec
import pytest

from bench import load as generator
from bench.load import Answer, Plan, Rate, Window, codes, load, percentile, rate_of

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"data": {"a": 1}}'
STILL_S = 0.6


class Plain(msgspec.Struct, frozen=True):
    """Requests without a body; any answer is a booking."""

    most: int = 100_000

    def requests(self, host: str, first: int, count: int) -> list[bytes]:
        return [b"GET / HTTP/1.1\r\n\r\n"] * min(count, self.most - first)

    def refusals(self, data: Any) -> list[str]:
        return []


class Standing:
    """A server for the clients: it answers within milliseconds, but stops once, from `still_at` on.

    After `answers_max` answers on a connection it answers no more, or closes it.
    """

    def __init__(self, still_at: float = float("inf"), answers_max: int = 1_000_000, *, closes: bool = False) -> None:
        self._still_at = still_at
        self._answers_max = answers_max
        self._closes = closes
        self._begun = time.perf_counter()

    def serve(self, client: socket.socket) -> None:
        with closing(client):
            answered = 0
            while client.recv(4_096):
                since = time.perf_counter() - self._begun
                if self._still_at <= since < self._still_at + STILL_S:
                    time.sleep(self._still_at + STILL_S - since)
                time.sleep(0.001)  # else it is asked more often than there are requests
                if answered < self._answers_max:
                    client.sendall(ANSWER)
                    answered += 1
                elif self._closes:
                    return


@contextmanager
def listening(server: Standing) -> Iterator[str]:
    """The server's address, while the block runs."""
    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:  # it was shut down
                    return
                threads.append(threading.Thread(target=server.serve, args=(client,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


def asked(url: str, *, per_s: float | None, connections: int = 1, work: Plain | None = None) -> Rate:
    return load(Plan(url, work or Plain(), 0, connections, 1.0, per_s))[1]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "WARMUP_S", 0.1)
    monkeypatch.setattr(generator, "DRAIN_TIMEOUT_S", 0.3)


def test_a_percentile_is_a_measured_value() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.5, 0.9, 0.99, 0.999, 1)] == [50, 90, 99, 100, 100]
    assert [percentile([7.0], share) for share in (0.01, 0.5, 1)] == [7, 7, 7]
    assert percentile([1.0, 2.0], 0.5) == 1
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2


@pytest.mark.parametrize(
    ("status", "body", "wanted"),
    [
        (200, b'{"data": {"bad": []}}', []),
        (200, b'{"data": {"bad": ["slot_taken"]}}', ["slot_taken"]),
        (400, b'{"errors": [{"message": "", "extensions": {"code": "invalid_input"}}]}', ["invalid_input"]),
        (200, b'{"data": null, "errors": [{"message": ""}]}', ["graphql_error"]),
        (401, b'{"errors": [{"message": "", "extensions": {}}]}', ["http_401"]),
        (503, b"busy", ["http_503"]),
        (500, b"[1]", ["http_500"]),
        (502, b'{"data": {"bad": []}}', ["http_502"]),
        (200, b'{"data": null}', ["graphql_error"]),
    ],
)
def test_an_answer_that_is_no_booking_has_a_code(status: int, body: bytes, wanted: list[str]) -> None:
    assert codes(Answer(0, 0, status, body), lambda data: data["bad"]) == wanted


def test_a_lost_answer_has_a_code() -> None:
    assert codes(Answer(0, 0, lost="no_answer"), lambda _: []) == ["no_answer"]


def test_the_warm_up_counts_only_for_errors() -> None:
    good, bad = b'{"data": []}', b'{"data": ["slot_taken"]}'
    answers = [
        Answer(0.0, 0.9, 200, bad),  # before
        Answer(0.9, 1.1, 200, good),  # its answer counts, its wait does not
        *(Answer(1.0, 1.0 + n / 100, 200, good) for n in range(1, 8)),
        Answer(1.5, 1.6, 200, bad),
        Answer(2.9, 3.4, 200, good),  # its wait counts, its answer came too late
        Answer(3.1, 3.2, 200, good),  # after
    ]
    rate = rate_of(answers, Window(1.0, 3.0), list, 0.25)
    assert rate.bookings_per_s == 4.0
    assert (rate.p50_ms, rate.p90_ms, rate.worst_ms) == (50, 500, 500)
    assert rate.errors == {"slot_taken": 2}
    assert rate.cpu_s == {"generator": 0.25}


def test_a_window_without_requests_is_an_error() -> None:
    with pytest.raises(ConnectionError, match="did not answer"):
        rate_of([Answer(0, 0.5, lost="connection_lost")], Window(1.0, 2.0), list, 0.0)


def test_an_open_loop_measures_every_delayed_request() -> None:
    """With one connection: in a closed loop one request is late, in an open loop every one that was due."""
    with listening(Standing(still_at=0.4)) as url:
        hurried = asked(url, per_s=None)
    with listening(Standing(still_at=0.4)) as url:
        due = asked(url, per_s=200)
    assert hurried.p90_ms < STILL_S * 1_000 / 4
    assert hurried.worst_ms > STILL_S * 1_000 * 0.9
    assert due.p90_ms > STILL_S * 1_000 / 2
    assert due.worst_ms > STILL_S * 1_000 * 0.9
    assert due.errors == {}


def test_unanswered_and_unsent_requests_count_as_waiting() -> None:
    with listening(Standing(answers_max=5)) as url:
        rate = asked(url, per_s=50, connections=2)
    assert rate.errors == {"no_answer": 2, "not_sent": 55 - 10 - 2}
    assert rate.worst_ms > 1_000


def test_lost_connections_are_counted_and_the_others_continue() -> None:
    with listening(Standing(answers_max=5, closes=True)) as url:
        rate = asked(url, per_s=100, connections=3)
    assert rate.errors == {"connection_lost": 3, "not_sent": 110 - 15 - 3}


def test_too_few_requests_are_reported() -> None:
    with listening(Standing(still_at=0)) as url:
        assert asked(url, per_s=None, work=Plain(most=60)).errors == {"out_of_requests": 1}
        assert asked(url, per_s=100, work=Plain(most=50)).errors == {"out_of_requests": 60}


def test_an_unreachable_server_is_an_error() -> None:
    with listening(Standing()) as url:
        pass
    with pytest.raises(OSError, match="Connect call failed"):
        asked(url, per_s=None)
