"""Events to bytes and back: JSON under a stable name, older versions upcast, personal fields sealed per subject."""

import base64
import os
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.decider import EVENTS, UPCASTERS, Event

NONCE_BYTES = 12
SEALED_FIELD = "personal"  # in the stored JSON: {"subject": id, "sealed": base64 of nonce + ciphertext}


class UnknownEvent(Exception):
    """The log holds an event that this version of the program does not know."""


class Codec:
    """Encodes and decodes events. Keys of subjects are parameters: this class uses no database."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._decoders = {
            name: msgspec.json.Decoder(kind).decode for name, kind in EVENTS.items() if not kind.personal_fields
        }

    def encode(self, event: Event, key: bytes | None = None) -> bytes:
        """The stored JSON. An event with personal fields needs its subject's key: 32 bytes."""
        if not event.personal_fields:
            return self._encode(event)
        if key is None:
            raise ValueError(f"{event.event_name} has personal fields: it can't be stored without a key")
        plain = msgspec.to_builtins(event)
        personal = {field: plain.pop(field) for field in event.personal_fields if field in plain}
        subject = subject_of(event)
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(nonce, self._encode(personal), _bound_to(event.event_name, subject))
        plain[SEALED_FIELD] = {"subject": subject, "sealed": base64.b64encode(sealed).decode()}
        return self._encode(plain)

    def decode(self, name: str, state: bytes, keys: Mapping[str, bytes]) -> Event:
        """The event; personal fields are None when the subject's key is gone.

        Raises UnknownEvent for an unknown name, InvalidTag for sealed fields that were tampered with.
        """
        decoder = self._decoders.get(name)
        if decoder:
            return decoder(state)
        raw = msgspec.json.decode(state)
        erased = SEALED_FIELD in raw and raw[SEALED_FIELD]["subject"] not in keys
        if SEALED_FIELD in raw:
            raw = self._unsealed(name, raw, keys)
        while name in UPCASTERS:
            old = UPCASTERS[name]
            absent = dict.fromkeys(old.personal_fields) if erased else {}
            name, raw = old.to, old.upcast(absent | raw)
        if name not in EVENTS:
            raise UnknownEvent(f"no event is named {name}: was the log written by a newer version?")
        absent = dict.fromkeys(EVENTS[name].personal_fields) if erased else {}
        return msgspec.convert(absent | raw, EVENTS[name])

    def _unsealed(self, name: str, raw: dict[str, Any], keys: Mapping[str, bytes]) -> dict[str, Any]:
        envelope = raw.pop(SEALED_FIELD)
        key = keys.get(envelope["subject"])
        if key is None:
            return raw
        sealed = base64.b64decode(envelope["sealed"])
        opened = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound_to(name, envelope["subject"]))
        personal: dict[str, Any] = msgspec.json.decode(opened)
        return raw | personal

    def is_plain(self, name: str) -> bool:
        """Whether events of this name are decoded without a key."""
        return name in self._decoders

    def sealed_subject(self, name: str, state: bytes) -> str | None:
        """The subject whose key is needed to decode this event, if any."""
        if self.is_plain(name):
            return None
        sealed = msgspec.json.decode(state).get(SEALED_FIELD)
        return sealed["subject"] if sealed else None


def subject_of(event: Event) -> str:
    """The subject of an event with personal fields or of an erasure."""
    return str(getattr(event, event.subject_field))


def _bound_to(name: str, subject: str) -> bytes:
    """Binds sealed fields to their event's name and subject: elsewhere they can't be decrypted."""
    return f"{name}/{subject}".encode()
