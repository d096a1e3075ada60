"""Importing agendas.

Idempotency keys are made of the file's digest and the row's line, so that a second run of the same file, after a kill
or by mistake, publishes nothing twice.
"""

import hashlib

from infra.imports.agendas_csv import AGENDAS
from infra.imports.checking import Import
from infra.imports.report import Report


class AgendaReport(Report):
    """`published` agendas are new. Of those `already_there`, `already_imported` were published by this very file."""

    published: int = 0
    already_imported: int = 0

    @property
    def changed(self) -> int:
        return self.published

    def count(self, *, existed: bool) -> None:
        self.published += 1

    def count_there(self, *, replayed: bool) -> None:
        self.already_there += 1
        self.already_imported += replayed

    def summary(self) -> str:
        before = f" ({self.already_imported} of them imported from this file before)" if self.already_imported else ""
        return f"{self.published} agendas published, {self.already_there} already there{before}, {self.refused} refused"


AGENDA_IMPORT = Import(
    name="agendas",
    table=AGENDAS,
    report=AgendaReport,
    key_prefix=lambda content: hashlib.sha256(content).hexdigest(),
    tells_repetitions=True,
)
