"""Cursors: places in a list, as texts that mean nothing to clients."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from infra.running.secret import Secret
from projections.engine.keyset import Key

CURSOR_LENGTH_MAX = 1_000
TAG_BYTES = 8

_encode = msgspec.json.Encoder().encode


class Cursors:
    """The cursors of one list.

    A cursor is base64url of a tag and the item's key in JSON. It is opaque, because clients that can read keys start to
    build their own cursors, and then the order of a list can never change. The tag depends on the list and the city's
    secret: cursors of other lists, incomplete ones and invented ones are all recognised by it, so no list has to check
    the values of a key.

    `decoder` reads a key; `of_list` tells the list from all others.
    """

    def __init__(self, secret: Secret, decoder: msgspec.json.Decoder[Key], *of_list: str) -> None:
        self._secret = secret
        self._decoder = decoder
        self._of_list = of_list

    def write(self, key: Key) -> str:
        encoded = _encode(key)
        tag = self._secret.cursor_tag(encoded, *self._of_list)
        return urlsafe_b64encode(tag + encoded).rstrip(b"=").decode()

    def read(self, cursor: str) -> Key | None:
        """The key of the item; None if it is no cursor of this list."""
        if len(cursor) > CURSOR_LENGTH_MAX:
            return None
        try:
            key = self._decoder.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[TAG_BYTES:])
        except (ValueError, msgspec.DecodeError):
            return None
        return key if self.write(key) == cursor else None
