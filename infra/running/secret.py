"""The city's secret: derives ids, hashes what must be looked up but not read, wraps the keys of subjects."""

import os
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from infra.running.settings import SettingError, Settings

SECRET_BYTES = 32
SUBJECT_KEY_BYTES = 32
DIGEST_BYTES = 32
PURPOSES = ("wrap", "id", "key", "request", "identity", "check", "token", "subject", "webhook", "cursor", "nit")

_canonical = msgspec.json.Encoder(order="deterministic").encode


_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648, in small letters
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def _opaque(digest: bytes) -> str:
    """128 bits in base 32. The standard library takes three times as long, and every booking needs one."""
    number = int.from_bytes(digest[:16], "big") << 2
    return "".join([_PAIRS[(number >> shift) & 0x3FF] for shift in range(120, -1, -10)])


class Secret:
    """Keyed functions of one secret. Every purpose has its own key, so that no output of one serves another."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise SettingError(f"the secret must be {SECRET_BYTES} bytes")
        self._purposes = {
            purpose: blake2b(key=secret, person=purpose.encode(), digest_size=DIGEST_BYTES) for purpose in PURPOSES
        }
        self._wrapping_key = self._keyed("wrap", b"")

    def _keyed(self, purpose: str, last: bytes, *before: str) -> bytes:
        """BLAKE2b with the secret as key. Purposes give independent functions; lengths keep inputs unambiguous."""
        keyed = self._purposes[purpose].copy()  # the secret is worked in already: every command needs two of these
        if len(before) == 1:  # as those two have
            part = before[0]
            keyed.update(f"{len(part)}:{part}".encode() + last)
        else:
            keyed.update("".join([f"{len(part)}:{part}" for part in before]).encode() + last)
        return keyed.digest()

    def new_id(self, kind: str, actor: str, key: str, content: Any) -> str:
        """An opaque id for a new object of this request: 26 letters and digits, 128 bits.

        The same request gives the same id, so that a repeated command has no second effect.
        """
        made = self._keyed("id", _canonical(content), kind, actor, key)
        return _opaque(made)

    def key_name(self, actor: str, key: str) -> str:
        """The stored form of an idempotency key: 32 hexadecimal digits, because clients put personal data into keys."""
        return self._keyed("key", key.encode(), actor)[:16].hex()

    def request_digest(self, kind: str, content: Any) -> bytes:
        """A keyed digest of a request's content, to compare two requests with the same idempotency key. 16 bytes."""
        return self._keyed("request", _canonical(content), kind)[:16]

    def identity_digest(self, identity_key: str) -> str:
        """The keyed hash under which an identity number is looked up: 64 hexadecimal digits."""
        return self._keyed("identity", identity_key.encode()).hex()

    def nit_digest(self, nit: str) -> str:
        """The keyed hash under which an organisation's tax number is looked up: 64 hexadecimal digits."""
        return self._keyed("nit", nit.encode()).hex()

    def subject_digest(self, issuer: str, subject: str) -> str:
        """What the log records of a citizen's login: 26 letters and digits that identify it without revealing it."""
        return _opaque(self._keyed("subject", subject.encode(), issuer))

    def development_seed(self) -> bytes:
        """The seed of the key that signs development tokens."""
        return self._keyed("token", b"")

    def webhook_key(self, webhook: str, generation: int) -> bytes:
        """The key that signs messages to a webhook: 32 bytes, different for each generation."""
        return self._keyed("webhook", b"", webhook, str(generation))

    def cursor_tag(self, key: bytes, *of_list: str) -> bytes:
        """What tells a cursor of this list from any other text: 8 bytes. `key` is its encoded key."""
        return self._keyed("cursor", key, *of_list)[:8]

    def check(self) -> bytes:
        """The value that a database stores to recognise its secret."""
        return self._keyed("check", b"")

    def new_subject_key(self) -> bytes:
        return os.urandom(SUBJECT_KEY_BYTES)

    def wrap(self, subject_key: bytes) -> bytes:
        return aes_key_wrap(self._wrapping_key, subject_key)

    def unwrap(self, wrapped_key: bytes) -> bytes:
        return aes_key_unwrap(self._wrapping_key, wrapped_key)


def load_secret(settings: Settings) -> Secret:
    """The secret from the settings, or that of the data folder, which is made at the first start.

    Raises SettingError if an external database is used without a secret, or the file is damaged.
    """
    if settings.secret:
        return Secret(bytes.fromhex(settings.secret))
    if settings.database_url:
        raise SettingError("IGOB_SECRET must be set when IGOB_DATABASE_URL is: 64 hexadecimal digits, kept safe")
    path = settings.data_dir / "secret"
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_once(path)
    return Secret(path.read_bytes())


def _make_once(path: Path) -> None:
    """Write a new secret unless there is one. Two processes at once agree on the first; a kill leaves none or all."""
    if path.exists():
        return
    handle, draft = tempfile.mkstemp(prefix="secret.", dir=path.parent)  # readable by its owner only
    with os.fdopen(handle, "wb") as file:
        file.write(os.urandom(SECRET_BYTES))
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, path)
    Path(draft).unlink()
