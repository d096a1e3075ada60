"""A webhook's receiver: a real server on loopback that remembers what it got and answers as it is told."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec


class Got(msgspec.Struct, frozen=True):
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


# From what was got to a status, with a header or not.
Answer = Callable[[Got], int]


class Receiver(ThreadingHTTPServer):
    """Answers 200 until `answer` is set. What hangs ends with `release`."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[Got] = []
        self.answer: Answer = lambda got: 200
        self.release = threading.Event()
        self.at_once = self.at_once_most = 0
        self.counting = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def hang(self, got: Got) -> int:
        """An answer that does not come before it is released."""
        self.release.wait(60)
        return 200

    def handle_error(self, *_: object) -> None:
        """Who sent it was killed, as some tests want."""

    def ids(self) -> list[str]:
        return [got.id for got in list(self.got)]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        server = self.server
        with server.counting:
            server.got.append(got)
            server.at_once += 1
            server.at_once_most = max(server.at_once, server.at_once_most)
        status = server.answer(got)
        with server.counting:
            server.at_once -= 1
        try:
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", f"{server.url}/elsewhere")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
        except OSError:  # whoever sent it gave up
            self.close_connection = True

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.release.set()
            receiver.shutdown()
            thread.join()
