"""UFV values, taxable objects and assessments in CSV files. docs/imports.md describes the columns."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import get_args

import msgspec

from domain.decider import build
from domain.errors import InvalidInput
from domain.identifiers import (
    PARTY,
    ObjectKind,
    PartyId,
    TaxableObjectId,
    ci_key,
    fits,
    parse_cadastral_code,
    parse_ci,
    parse_number,
    taxable_object_id,
)
from domain.obligations.obligation import AssessTax
from domain.obligations.tax_year import YEAR_MAX, YEAR_MIN
from domain.obligations.ufv import DECIMALS, VALUE_MAX, PublishUfv
from infra.imports.cells import BadCell, amount, cell, day
from infra.imports.table import Table

KINDS: dict[str, ObjectKind] = {kind.lower(): kind for kind in get_args(ObjectKind)}

_UFV = re.compile(rf"([0-9]{{1,4}})[.,]([0-9]{{1,{DECIMALS}}})")
_YEAR = re.compile("[0-9]{4}")


class OwnedObject(msgspec.Struct, frozen=True, gc=False):
    """An object as a row gives it.

    Its owner is named by the part of their identity number that is looked up, or by id; the other one is "".
    """

    kind: ObjectKind
    number: str
    since: date
    cadastral_code: str | None
    identity: str = ""
    owner: PartyId = ""

    @property
    def object(self) -> TaxableObjectId:
        return taxable_object_id(self.kind, self.number)


def _ufv(cells: Mapping[str, str]) -> PublishUfv:
    return build(PublishUfv, day=cell(cells, "day", day), value=cell(cells, "value", _ufv_value))


def _ufv_value(text: str) -> int:
    """A UFV in hundred-thousandths. It has no thousands, so a point and a comma both separate decimals."""
    found = _UFV.fullmatch(text)
    value = int(Decimal(f"{found[1]}.{found[2]}").scaleb(DECIMALS)) if found else 0
    if not 0 < value < VALUE_MAX:
        raise ValueError(f"bolivianos with at most {DECIMALS} decimals, like 2.35851")
    return value


def _object(cells: Mapping[str, str]) -> OwnedObject:
    kind = cell(cells, "kind", _kind)
    identity, owner = cell(cells, "owner", _owner)
    cadastral_code = cells.get("cadastral_code")
    return OwnedObject(
        kind=kind,
        number=parse_number(kind, cell(cells, "number", str)),
        since=cell(cells, "since", day),
        cadastral_code=parse_cadastral_code(cadastral_code) if cadastral_code else None,
        identity=identity,
        owner=owner,
    )


def _owner(text: str) -> tuple[str, PartyId]:
    """The part of an identity number that is looked up, or the id of a person or organisation; the other is empty."""
    if fits(PARTY, text):
        return "", text
    try:
        return ci_key(parse_ci(text)), ""
    except InvalidInput:
        raise ValueError(
            "an identity number, like 4820193 or 4820193-1A LP, nor the id of a person or organisation"
        ) from None


def _kind(text: str) -> ObjectKind:
    found = KINDS.get(text.lower())
    if not found:
        raise ValueError(f"a kind of object: {', '.join(KINDS)}")
    return found


def _assessment(cells: Mapping[str, str]) -> AssessTax:
    return build(
        AssessTax,
        object=_code(cells),
        year=cell(cells, "year", _year),
        due=cell(cells, "due", day),
        norm=cell(cells, "norm", str),
        amount=cell(cells, "amount", amount) if cells.get("amount") else None,
        base=cell(cells, "base", amount) if cells.get("base") else None,
    )


def _code(cells: Mapping[str, str]) -> TaxableObjectId:
    """The object's code, given as it is or by kind and number."""
    code, kind, number = cells.get("object"), cells.get("kind"), cells.get("number")
    if code and (kind or number):
        raise BadCell("object", "give the code of the object, or its kind and number, not both")
    if code:
        return code
    if not kind and not number:
        raise BadCell("object", "is empty: give the code of the object, or its kind and number")
    of = cell(cells, "kind", _kind)
    return taxable_object_id(of, parse_number(of, cell(cells, "number", str)))


def _year(text: str) -> int:
    if not _YEAR.fullmatch(text) or not YEAR_MIN <= int(text) <= YEAR_MAX:
        raise ValueError(f"a fiscal year from {YEAR_MIN} on, like 2026")
    return int(text)


UFV = Table(
    required=("day", "value"),
    optional=(),
    command_of=_ufv,
    thing=lambda command: f"the UFV of {command.day}",
    dates=frozenset({"day"}),
)
OBJECTS = Table(
    required=("kind", "number", "owner", "since"),
    optional=("cadastral_code",),
    command_of=_object,
    thing=lambda row: f"the object {row.object}",
    also=lambda row: f"the cadastral code {row.cadastral_code}" if row.cadastral_code else "",
    dates=frozenset({"since"}),
)
ASSESSMENTS = Table(
    required=("year", "due", "norm"),
    optional=("object", "kind", "number", "amount", "base"),
    command_of=_assessment,
    thing=lambda command: f"the tax {command.obligation}",
    dates=frozenset({"due"}),
    choices=((("object",), ("kind", "number")), (("amount",), ("base",))),
)
