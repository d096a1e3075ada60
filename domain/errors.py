"""The only exception that a decision raises, and the hint that says what a right value looks like.

A refusal is a class, declared once beside the rule that it states, with its details as fields and its text in every
language; a hint likewise:

    class SlotTaken(Rejected, es="El turno {slot} ya está tomado.", en="Slot {slot} is taken."):
        slot: int
        alternatives: list[Slot]

    raise SlotTaken(path="slot", slot=slot.number, alternatives=nearest_free(agenda, slot, now))
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from string import Formatter
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform, get_args

from domain.calendar import TIME_ZONE

Language = Literal["es", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass_transform(kw_only_default=True, eq_default=False)
class _Worded:
    """Something with a code and a text in every language, in which `{name}` stands for the field of that name."""

    code: ClassVar[str]
    texts: ClassVar[Mapping[Language, str]]
    field_names: ClassVar[tuple[str, ...]]

    def blanks(self, language: Language) -> dict[str, Any]:
        """What fills the text's blanks; instants are those of La Paz."""
        return {name: _shown(getattr(self, name), language) for name in self.field_names}

    def message(self, language: Language) -> str:
        """The text, for people."""
        return self.texts[language].format_map(self.blanks(language))


def _shown(value: Any, language: Language) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(TIME_ZONE).strftime("%d/%m/%Y %H:%M:%S")
    return value.message(language) if isinstance(value, Hint) else value


W = TypeVar("W", bound=type[_Worded])


def _declare(cls: W, registry: dict[str, W], code: str, texts: Mapping[Language, str]) -> None:
    """Make a dataclass of the class and register it. Raises TypeError if its code or a text of it can't be right."""
    cls.code = code
    cls.texts = texts
    dataclass(kw_only=True, eq=False, repr=False)(cls)
    cls.field_names = tuple(name for name in cls.__dataclass_fields__ if name != "path")  # type: ignore[attr-defined]
    for language in LANGUAGES:
        if not texts[language]:
            raise TypeError(f"{cls.__name__} has no text in {language}")
        for _, blank, _, _ in Formatter().parse(texts[language]):
            if blank is not None and blank not in cls.field_names:
                raise TypeError(f"no field of {cls.__name__} fills {{{blank}}} in {language}")
    if registry.setdefault(code, cls) is not cls:
        raise TypeError(f"{cls.__name__} and {registry[code].__name__} have the same code")


def _snake_case(name: str) -> str:
    return re.sub("(?<=.)([A-Z])", r"_\1", name).lower()


@dataclass(kw_only=True, eq=False, repr=False)
class Rejected(_Worded, Exception):
    """A command that may not happen now: nothing is written.

    Class keywords: the texts, `es` and `en`; `code`, the stable reason, unless it follows from the name: SlotTaken is
    "slot_taken". A code is a promise to clients: it never changes its meaning.

    Attributes:
        path: the field of the command that is to blame, such as "slot" or "slots.3.start"; "" when none is.
    """

    path: str = ""

    def __init_subclass__(cls, *, es: str, en: str, code: str = "") -> None:
        _declare(cls, REFUSALS, code or _snake_case(cls.__name__), {"es": es, "en": en})

    @property
    def details(self) -> Mapping[str, Any]:
        """The fields by name, for callers that treat all refusals alike."""
        return {name: getattr(self, name) for name in self.field_names}

    def __str__(self) -> str:
        details = ", ".join(f"{name}={value!r}" for name, value in self.details.items())
        return f"{self.code} at {self.path or 'the command'}" + (f" ({details})" if details else "")


class Hint(_Worded):
    """What a right value looks like, in the text of InvalidInput. The class SlugHint has the code "slug"."""

    def __init_subclass__(cls, *, es: str, en: str, code: str = "") -> None:
        _declare(cls, HINTS, code or _snake_case(cls.__name__.removesuffix("Hint")), {"es": es, "en": en})


REFUSALS: dict[str, type[Rejected]] = {}  # by code
HINTS: dict[str, type[Hint]] = {}


class InvalidInput(Rejected, es="Dato no válido: {hint}.", en="Not valid: {hint}."):
    """A field that is not of the right form."""

    hint: Hint

    @property
    def details(self) -> Mapping[str, Any]:
        """The hint's code and its fields."""
        return {"hint": self.hint.code} | {name: getattr(self.hint, name) for name in self.hint.field_names}


# Refusals and hints that several contexts share.


class InThePast(Rejected, es="Eso ya pasó: {at}.", en="That is in the past: {at}."):
    at: date | datetime


class TooFarAhead(
    Rejected,
    es="Una agenda se publica con {limit} días de anticipación como máximo.",
    en="An agenda is published at most {limit} days ahead.",
):
    limit: int


class PersonUnknown(Rejected, es="No existe esa persona.", en="There is no such person."): ...


class WrongTypeHint(
    Hint,
    code="type",
    es="falta o no es del tipo pedido",
    en="it is missing or not of the kind asked for",
): ...


class LengthHint(Hint, es="la longitud debe ser {bound}", en="its length must be {bound}"):
    bound: str


class NumberHint(Hint, es="el número debe ser {bound}", en="the number must be {bound}"):
    bound: str


class OneOfHint(Hint, es="debe ser uno de {values}", en="it must be one of {values}"):
    values: str


class OnceHint(Hint, es="cada uno se dice una sola vez", en="each is said once only"): ...
