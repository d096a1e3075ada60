"""The forms of texts: what a valid one is, and the hint that describes it."""

import re

from msgspec import Meta

from domain.errors import Hint

SLUG_REGEX = "[a-z0-9](?:-?[a-z0-9]){0,39}"
OPAQUE_REGEX = "[a-z2-7]{26}"  # 128 bits in base 32

# Invisible characters, as ranges because `re` knows no categories: control and format characters, line and paragraph
# separators, surrogates (categories Cc Cf Zl Zp Cs), blank letters and symbols, and noncharacters. PostgreSQL's text
# can't hold some of them, terminals should not print them, and a name of nothing else looks empty. The list is fixed:
# Unicode tables differ between versions of Python, and whether a name is valid must not depend on that.
UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u180e\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u2064\u2066-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff9-\ufffb"
    r"\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
    r"\U000e0020-\U000e007f" + "".join(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(1, 17))
)
HINTS: dict[str, Hint] = {}  # pattern → the hint that describes a match


def pattern(regex: str, hint: Hint, *, max_length: int | None = None) -> Meta:
    """A constraint on a text, and the hint for a text that breaks it."""
    HINTS[regex] = hint
    return Meta(pattern=regex, max_length=max_length)


class SlugHint(
    Hint,
    es="un código se escribe con minúsculas y cifras unidas por guiones, como la-merced",
    en="a code consists of lower-case letters and digits joined by hyphens, like la-merced",
): ...


# Their forms, for commands: Annotated[HospitalId, SLUG].
SLUG = pattern(rf"^{SLUG_REGEX}\Z", SlugHint())


class OpaqueHint(
    Hint,
    es="debe ser un identificador dado por este sistema, copiado completo",
    en="it must be an identifier issued by this system, copied in full",
): ...


class TextHint(
    Hint,
    es="el texto debe ser de una sola línea, sin caracteres invisibles, y no puede estar vacío",
    en="the text must be a single line without invisible characters, and can't be empty",
): ...


NAME = pattern(rf"^(?=.*\S)[^{UNSEEN}]+\Z", TextHint(), max_length=120)
ADDRESS = pattern(rf"^(?=.*\S)[^{UNSEEN}]+\Z", TextHint(), max_length=200)


class PhoneHint(
    Hint,
    es="un teléfono se escribe con cifras, como +59171234567",
    en="a phone number consists of digits, like +59171234567",
): ...


PHONE = pattern(r"^\+?[0-9]{7,15}\Z", PhoneHint())
_PHONE_PUNCTUATION = str.maketrans("", "", " ().-/")


def phone_digits(text: str) -> str:
    """A telephone number without its punctuation: "+591 (2) 212-3456" becomes "+59122123456"."""
    return text.translate(_PHONE_PUNCTUATION)


DIGEST = pattern(r"^[0-9a-f]{64}\Z", OpaqueHint())


def fits(form: Meta, text: str) -> bool:
    """Whether a text has this form."""
    return re.search(form.pattern or "", text) is not None


def hint_of(form: Meta) -> Hint:
    """The hint that describes a text of this form."""
    return HINTS[form.pattern or ""]
