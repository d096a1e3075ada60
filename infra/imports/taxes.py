"""Importing what taxes follow from: the UFV, taxable objects with their owners, assessments.

Idempotency keys of objects and assessments are made of the file's digest and the row's line, so that a second run of
the same file registers and assesses nothing twice. Those of the UFV are new in each run: a value that was corrected
meanwhile can be corrected back by the old file.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from domain.decider import Recorded, build
from domain.obligations.taxable_object import RegisterTaxableObject
from domain.obligations.ufv import PublishUfv, Ufv
from domain.obligations.ufv import stream as ufv_stream
from domain.people.person import identity_stream
from infra.imports.checking import Found, Import, RowRefused, Wanted
from infra.imports.problems import Problem
from infra.imports.report import Report
from infra.imports.table import Row
from infra.imports.taxes_csv import ASSESSMENTS, OBJECTS, UFV, OwnedObject
from infra.log.core import Core


class UfvReport(Report):
    """Days that were `published`, or `corrected`: another value was published for them before."""

    published: int = 0
    corrected: int = 0

    @property
    def changed(self) -> int:
        return self.published + self.corrected

    def count(self, *, existed: bool) -> None:
        self.published += not existed
        self.corrected += existed

    def summary(self) -> str:
        return (
            f"{self.published} days published, {self.corrected} corrected, {self.already_there} already there,"
            f" {self.refused} refused"
        )


class ObjectReport(Report):
    registered: int = 0

    @property
    def changed(self) -> int:
        return self.registered

    def count(self, *, existed: bool) -> None:
        self.registered += 1

    def summary(self) -> str:
        return f"{self.registered} objects registered, {self.already_there} already there, {self.refused} refused"


class AssessmentReport(Report):
    assessed: int = 0

    @property
    def changed(self) -> int:
        return self.assessed

    def count(self, *, existed: bool) -> None:
        self.assessed += 1

    def summary(self) -> str:
        return f"{self.assessed} taxes assessed, {self.already_there} already there, {self.refused} refused"


def ufv_import(*, replace: bool) -> Import[PublishUfv, UfvReport]:
    """The import of UFV values. Without `replace`, a row with another value than the published one is refused."""

    def replaces(command: PublishUfv, recorded: Sequence[Recorded], found: Found) -> bool:
        ufv: Ufv = found[ufv_stream(command.day.year)].state
        known = ufv.values.get(command.day)
        if known and not replace:
            text = f"the UFV of that day is published as {known.bolivianos}; --replace corrects it"
            raise RowRefused("value", "ufv_published", text)
        return known is not None

    return Import(
        name="ufv", table=UFV, report=UfvReport, key_prefix=lambda _: secrets.token_hex(16), replaces=replaces
    )


async def _with_owners(core: Core, rows: Sequence[Row[OwnedObject]]) -> list[Wanted]:
    """The registrations, with the owners found by their identity numbers in one query."""
    streams = {
        row.line: identity_stream(core.secret.identity_digest(row.command.identity))
        for row in rows
        if row.command.identity
    }
    found = await core.log.load(set(streams.values()))
    owners = {line: found[stream].state.person for line, stream in streams.items()}
    return [_registration(row, owners.get(row.line, row.command.owner)) for row in rows]


def _registration(row: Row[OwnedObject], owner: str | None) -> Wanted:
    if owner is None:
        text = f"nobody is registered with the identity number {row.command.identity}: register the person first"
        return Problem(row.line, "owner", "person_unknown", text)
    registration = build(
        RegisterTaxableObject,
        kind=row.command.kind,
        number=row.command.number,
        owner=owner,
        since=row.command.since,
        cadastral_code=row.command.cadastral_code,
    )
    return Row(row.line, registration)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


OBJECT_IMPORT: Import[OwnedObject, ObjectReport] = Import(
    name="objects", table=OBJECTS, report=ObjectReport, key_prefix=_digest, resolve=_with_owners
)
ASSESSMENT_IMPORT: Import[Any, AssessmentReport] = Import(
    name="assessments", table=ASSESSMENTS, report=AssessmentReport, key_prefix=_digest
)
