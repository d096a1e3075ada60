"""Trusted documents, with which the city's own front ends are built. A client can send a digest instead of the text."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from domain.errors import Rejected
from infra.running.settings import PREFIX, SettingError

TRUSTED_MAX = 10_000
FORM = "sha256:"
SUFFIX = ".graphql"
_KEY = re.compile("(sha256:)?[0-9a-f]{64}")


def document_id(text: str) -> str:
    """The id of a document: `sha256:` and the digest of its UTF-8 in hexadecimal digits."""
    return FORM + sha256(text.encode(errors="surrogatepass")).hexdigest()


class DocumentUnknown(
    Rejected,
    es="En la lista de la ciudad no hay ningún documento con ese identificador.",
    en="No document on the city's list has that id.",
): ...


class DocumentNotTrusted(
    Rejected,
    es="Aquí solo se ejecutan los documentos de la lista de la ciudad, y este no está en ella.",
    en="Only documents on the city's list are executed here, and this one is not on it.",
): ...


class PersistedQueryNotSupported(
    Rejected,
    code="PERSISTED_QUERY_NOT_SUPPORTED",  # code and texts are those of the protocol: clients compare them
    es="PersistedQueryNotSupported",
    en="PersistedQueryNotSupported",
):
    """A request by Apollo's protocol for automatic persisted queries, which clients repeat with the document."""


class Trusted:
    """The documents, by id. `strict`: no others are executed. `understood`: the parsed documents, by text."""

    def __init__(
        self, texts: Iterable[str] = (), *, strict: bool = False, understood: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.understood = understood
        self._texts = {document_id(text): text for text in texts}
        self._strict = strict

    def text(self, query: str | None, name: str | None, digest: str | None = None) -> str:
        """The document that a request means, by its text, its id, or its digest as a persisted query.

        Raises Rejected: PersistedQueryNotSupported for an unknown digest; "document_unknown" for an unknown id, or one
        that differs from the id of the given text; "document_not_trusted" for any other document, if `strict`.
        """
        if digest is not None:
            if (text := self._texts.get(FORM + digest)) is None:
                raise PersistedQueryNotSupported()
            return text
        if name is not None:
            text = self._texts.get(name)
            if text is None or query not in (None, text):
                raise DocumentUnknown(path="document_id")
            return text
        assert query is not None, "limits.check_request requires one of the two"
        if self._strict and document_id(query) not in self._texts:
            raise DocumentNotTrusted()
        return query


def load_trusted(path: str, *, strict: bool, understand: Callable[[str], object]) -> Trusted:
    """The documents of a folder's `.graphql` files or of a JSON file that maps digests to documents; none for "".

    `understand` parses a document, or raises an exception with `errors`; its result is kept. Raises SettingError, which
    names what is wrong.
    """
    setting = f"{PREFIX}TRUSTED_DOCUMENTS"
    try:
        texts = _read(Path(path)) if path else {}
    except (OSError, ValueError) as error:
        raise SettingError(f"{setting}: {path} can't be read: {type(error).__name__}") from None
    if len(texts) > TRUSTED_MAX:
        raise SettingError(f"{setting}: at most {TRUSTED_MAX} documents, not {len(texts)}")
    understood = {}
    for name, text in texts.items():
        if not name.endswith(SUFFIX) and not _KEY.fullmatch(name):
            raise SettingError(f"{setting}: {name} is no digest: sha256: and 64 hexadecimal digits")
        if _KEY.fullmatch(name) and FORM + name.removeprefix(FORM) != document_id(text):
            raise SettingError(f"{setting}: {name} is not the digest of its document")
        try:
            understood[text] = understand(text)
        except Exception as error:
            faults = "; ".join(one.message for one in getattr(error, "errors", ())) or type(error).__name__
            raise SettingError(f"{setting}: {name}: {faults}") from None
    return Trusted(texts.values(), strict=strict, understood=understood)


def _read(path: Path) -> dict[str, str]:
    if path.is_dir():
        # As bytes: their digest is that of the file, whatever its line ends.
        return {file.name: file.read_bytes().decode() for file in sorted(path.glob(f"*{SUFFIX}"))}
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError("it must map digests to documents")
    return found
