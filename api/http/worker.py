"""A worker of `igob serve`: uvicorn on the shared listening socket, with our HTTP protocol class."""

import logging
import resource
import signal
import socket
from contextlib import suppress
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.app import Application
from api.http.connections import CLOSE_TIMEOUT_S
from api.http.protocol import IDLE_TIMEOUT_S, Connections, protocol_class
from api.http.sockets import MESSAGE_BYTES_MAX
from infra.running.metrics import share
from infra.running.parts import STOP_TIMEOUT_S
from infra.running.serve import connections_for
from infra.running.settings import from_environment

WEBSOCKET_BYTES_MAX = 2 * MESSAGE_BYTES_MAX  # above the application's limit, which answers with a GraphQL error
# Streams are cut on purpose so that clients don't take them for complete, see api/http/streams.py. Don't log that.
CUT_STREAM = "ASGI callable returned without completing response."
LIFESPAN_STOP_S = 5  # part of STOP_TIMEOUT_S: time to stop the committer after all requests are answered


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket with a short timeout for the client's close frame."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.close_timeout = CLOSE_TIMEOUT_S


def config_for(application: Application, connections: Connections) -> Config:
    """The uvicorn configuration of a worker."""
    return Config(
        application,
        http=protocol_class(application, connections),
        ws=WebSocketProtocol,
        ws_max_size=WEBSOCKET_BYTES_MAX,
        ws_ping_interval=None,  # the application pings in its own protocol
        ws_per_message_deflate=False,
        loop="uvloop",
        lifespan="on",
        proxy_headers=False,  # api/access/rates.py decides which proxies to trust
        server_header=False,
        access_log=False,
        log_level="error",
        timeout_keep_alive=IDLE_TIMEOUT_S,
        timeout_graceful_shutdown=STOP_TIMEOUT_S - LIFESPAN_STOP_S,
    )


def main(listening: socket.socket) -> None:
    """Serve on a listening socket until SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops `igob serve`, which stops us
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        files = most
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != CUT_STREAM)
    application = Application(from_environment(), shared=share())
    server = Server(config_for(application, Connections(connections_for(files))))
    server.run(sockets=[listening])
