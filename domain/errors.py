"""Refusals, the only exceptions that a decision raises, and hints, which describe a valid value.

Each refusal is a class, declared beside the rule that raises it. Its details are its fields, and it has a text in every
language. Hints are declared in the same way.

    class SlotTaken(Rejected, es="El horario {slot} ya está ocupado.", en="Slot {slot} is taken."):
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

from domain.calendar import in_words

Language = Literal["es", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass_transform(kw_only_default=True, eq_default=False)
class _Worded:
    """A code and a text in every language. In the text, `{name}` stands for the field of that name."""

    code: ClassVar[str]
    texts: ClassVar[Mapping[Language, str]]
    field_names: ClassVar[tuple[str, ...]]

    def blanks(self, language: Language) -> dict[str, Any]:
        """The values that fill the text's blanks. Dates are in words, and instants in the time of La Paz."""
        return {name: _shown(getattr(self, name), language) for name in self.field_names}

    def message(self, language: Language) -> str:
        """The text for people to read."""
        return self.texts[language].format_map(self.blanks(language))


def _shown(value: Any, language: Language) -> Any:
    if isinstance(value, date):
        return in_words(value, language)
    return value.message(language) if isinstance(value, Hint) else value


W = TypeVar("W", bound=type[_Worded])


def _declare(cls: W, registry: dict[str, W], code: str, texts: Mapping[Language, str]) -> None:
    """Turn the class into a dataclass and register it. Raises TypeError if its code is taken or a text is wrong."""
    cls.code = code
    cls.texts = texts
    dataclass(kw_only=True, eq=False, repr=False)(cls)
    cls.field_names = tuple(name for name in cls.__dataclass_fields__ if name != "path")  # type: ignore[attr-defined]
    for language in LANGUAGES:
        if not texts[language]:
            raise TypeError(f"{cls.__name__} has no text in {language}")
        for _, blank, _, _ in Formatter().parse(texts[language]):
            if blank is not None and blank not in cls.field_names:
                raise TypeError(f"{cls.__name__} has no field {blank}, which its text in {language} names")
    if registry.setdefault(code, cls) is not cls:
        raise TypeError(f"{cls.__name__} and {registry[code].__name__} have the same code")


def _snake_case(name: str) -> str:
    return re.sub("(?<=.)([A-Z])", r"_\1", name).lower()


@dataclass(kw_only=True, eq=False, repr=False)
class Rejected(_Worded, Exception):
    """A command is refused: nothing is written.

    Class keywords: the texts, `es` and `en`; `code`, if it is not the class's name in snake case ("slot_taken" for
    SlotTaken). A code is a promise to clients: its meaning never changes.

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
    """Describes a valid value, in the text of InvalidInput. The class SlugHint has the code "slug"."""

    def __init_subclass__(cls, *, es: str, en: str, code: str = "") -> None:
        _declare(cls, HINTS, code or _snake_case(cls.__name__.removesuffix("Hint")), {"es": es, "en": en})


REFUSALS: dict[str, type[Rejected]] = {}  # by code
HINTS: dict[str, type[Hint]] = {}


class InvalidInput(Rejected, es="Dato no válido: {hint}.", en="Invalid value: {hint}."):
    """The value of a field does not have the required form."""

    hint: Hint

    @property
    def details(self) -> Mapping[str, Any]:
        """The hint's code and its fields."""
        return {"hint": self.hint.code} | {name: getattr(self.hint, name) for name in self.hint.field_names}


# Refusals and hints that several contexts share.


class InThePast(Rejected, es="Esa fecha ya pasó: {at}.", en="That is in the past: {at}."):
    at: date | datetime


class TooFarAhead(
    Rejected,
    es="La fecha puede ser dentro de {limit} días como máximo.",
    en="The date can be at most {limit} days ahead.",
):
    limit: int


class PersonUnknown(Rejected, es="No existe esa persona.", en="There is no such person."): ...


class OrganisationUnknown(Rejected, es="No existe esa organización.", en="There is no such organisation."): ...


class WrongTypeHint(
    Hint,
    code="type",
    es="falta, es desconocido o no es del tipo esperado",
    en="it is missing, unknown or of the wrong type",
): ...


BOUNDS: dict[str, dict[Language, str]] = {
    ">=": {"es": "al menos", "en": "at least"},
    ">": {"es": "más de", "en": "more than"},
    "<=": {"es": "como máximo", "en": "at most"},
    "<": {"es": "menos de", "en": "less than"},
}


class _Bounded:
    """Shows `bound`, a sign of comparison and a number such as ">= 1", in words."""

    bound: str

    def blanks(self, language: Language) -> dict[str, Any]:
        sign, _, number = self.bound.partition(" ")
        return {"bound": f"{BOUNDS[sign][language]} {number}" if sign in BOUNDS else self.bound}


class LengthHint(
    _Bounded,
    Hint,
    es="debe tener {bound} caracteres o elementos",
    en="it must have {bound} characters or items",
):
    bound: str


class NumberHint(_Bounded, Hint, es="el número debe ser {bound}", en="the number must be {bound}"):
    bound: str


class OneOfHint(Hint, es="debe ser uno de {values}", en="it must be one of {values}"):
    values: str


class OnceHint(Hint, es="cada valor se indica una sola vez", en="each value may appear only once"): ...
