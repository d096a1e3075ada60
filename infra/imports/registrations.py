"""Importing names: hospitals, specialties, practitioners and rooms.

A row that is registered already with the same details changes nothing, so a file can be imported again at any time.
Each run has idempotency keys of its own: with `replace`, an old file imported again takes effect again.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from domain.appointments.hospital import RegisterHospital
from domain.appointments.practitioner import RegisterPractitioner, RegisterRoom
from domain.appointments.specialty import RegisterSpecialty
from domain.decider import Command, build
from domain.identifiers import phone_digits
from infra.imports.cells import BadCell, cell
from infra.imports.checking import Import
from infra.imports.report import Report
from infra.imports.table import Table

# Excel writes a decimal comma in Spanish.
_DEGREES = re.compile(r"-?[0-9]{1,3}(?:[.,][0-9]{1,15})?")


class RegistrationReport(Report):
    """`registered` things are new; `replaced` were registered with other details before."""

    registered: int = 0
    replaced: int = 0

    @property
    def changed(self) -> int:
        return self.registered + self.replaced

    def count(self, *, existed: bool) -> None:
        self.registered += not existed
        self.replaced += existed

    def summary(self) -> str:
        return (
            f"{self.registered} registered, {self.replaced} replaced, {self.already_there} already there,"
            f" {self.refused} refused"
        )


def registration_import(name: str, *, replace: bool) -> Import[Any, RegistrationReport]:
    """The import of this name. With `replace`, things that are registered with other details are registered anew."""
    form = _FORMS[name]
    return Import(
        name=name,
        table=Table(
            required=form.required,
            optional=form.optional,
            command_of=partial(form.command_of, replace=replace),
            thing=lambda command: f"the {form.required[0]} {getattr(command, form.required[0])}",
        ),
        report=RegistrationReport,
        key_prefix=lambda _: secrets.token_hex(16),
    )


def _hospital(cells: Mapping[str, str], *, replace: bool) -> RegisterHospital:
    phone = cells.get("phone")
    return build(
        RegisterHospital,
        hospital=cell(cells, "hospital", str),
        name=cell(cells, "name", str),
        address=cells.get("address") or None,
        district=cells.get("district") or None,
        phone=phone_digits(phone) if phone else None,
        location=_location(cells),
        replace=replace,
    )


def _location(cells: Mapping[str, str]) -> dict[str, int] | None:
    """The location in a row that has a latitude and a longitude; None if it has neither."""
    if not cells.get("latitude") and not cells.get("longitude"):
        return None
    found = {}
    for name in ("latitude", "longitude"):
        if not cells.get(name):
            raise BadCell(name, "is empty: give latitude and longitude, or none of them")
        found[f"{name}_microdegrees"] = cell(cells, name, _microdegrees)
    return found


def _microdegrees(text: str) -> int:
    if not _DEGREES.fullmatch(text):
        raise ValueError("a number of degrees, like -16.495546")
    return round(Decimal(text.replace(",", ".")) * 1_000_000)


def _specialty(cells: Mapping[str, str], *, replace: bool) -> RegisterSpecialty:
    return build(
        RegisterSpecialty, specialty=cell(cells, "specialty", str), name=cell(cells, "name", str), replace=replace
    )


def _practitioner(cells: Mapping[str, str], *, replace: bool) -> RegisterPractitioner:
    return build(
        RegisterPractitioner,
        practitioner=cell(cells, "practitioner", str),
        name=cell(cells, "name", str),
        specialties=cells.get("specialties", "").split(),
        hospital=cells.get("hospital") or None,
        replace=replace,
    )


def _room(cells: Mapping[str, str], *, replace: bool) -> RegisterRoom:
    return build(
        RegisterRoom,
        room=cell(cells, "room", str),
        hospital=cell(cells, "hospital", str),
        name=cell(cells, "name", str),
        replace=replace,
    )


class _Form(NamedTuple):
    """The columns of a kind of file, the code first, and the command of a row."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    command_of: Callable[..., Command]


_FORMS = {
    "hospitals": _Form(
        ("hospital", "name"), ("address", "district", "phone", "latitude", "longitude"), command_of=_hospital
    ),
    "specialties": _Form(("specialty", "name"), (), command_of=_specialty),
    "practitioners": _Form(("practitioner", "name"), ("specialties", "hospital"), command_of=_practitioner),
    "rooms": _Form(("room", "hospital", "name"), (), command_of=_room),
}
