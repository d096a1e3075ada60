"""A worker of `igob serve`, on the socket that a test gave it."""

import socket

from api.http import worker

MAIN = "tests.conformance.working:main"
LISTENING_FD = 3


def main() -> None:
    worker.main(socket.socket(fileno=LISTENING_FD))
