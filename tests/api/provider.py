"""An OpenID Connect provider on this machine: its configuration, its keys, and tokens that it signed, or others did."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

SigningKey = RSAKey | ECKey | OKPKey | OctKey


@cache
def rsa_key(name: str, which: int = 1, use: str = "sig") -> RSAKey:
    """One of several of that name, always the same: each takes a tenth of a second to make."""
    return RSAKey.generate_key(2048, {"kid": name, "use": use})


class Provider:
    """What it serves can be changed: `keys`, `configuration`, `broken` for one that answers nothing of use.

    `key_set` is what it serves instead of its keys, byte by byte.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.rsa = rsa_key("first")
        self.keys: list[SigningKey] = [self.rsa]
        self.configuration = {"issuer": url, "jwks_uri": f"{url}/keys"}
        self.broken = False
        self.key_set = b""
        self.asked: list[str] = []

    def answer(self, path: str) -> bytes:
        """The body; empty for a fault."""
        self.asked.append(path)
        if self.broken:
            return b""
        if path == "/.well-known/openid-configuration":
            return json.dumps(self.configuration).encode()
        keys = [{"kty": "made-up", "kid": "x"}, *(key.as_dict(private=False) for key in self.keys)]
        return self.key_set or json.dumps({"keys": keys}).encode()

    def token(
        self,
        key: SigningKey | None = None,
        *,
        algorithm: str = "RS256",
        header: Mapping[str, Any] = MappingProxyType({"typ": "JWT"}),
        **claims: Any,
    ) -> str:
        """Signed by the first key unless told otherwise; a claim that is None is left out."""
        key = key or self.rsa
        said = {"iss": self.url, "aud": "igob", "sub": "ana"} | claims
        return jwt.encode(
            {"alg": algorithm, "kid": str(key.kid), **header},
            {name: value for name, value in said.items() if value is not None},
            key,
            registry=_registry(algorithm),
            default_type=None,
        )


def _registry(algorithm: str) -> JWSRegistry:
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = 8_192
    return registry


@contextmanager
def provider() -> Iterator[Provider]:
    """One that answers until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = served.answer(self.path)
            self.send_response(200 if found else 500)
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Provider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
