"""Importing agendas: all rows of a file are checked first, then they are published through the lane.

Each row is one command under a key made of the file's digest and the row's line, so that a second run of the same file,
after a kill or by mistake, publishes nothing twice.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rich.console import Console
from rich.progress import Progress

from domain.appointments import agenda as agendas
from domain.appointments import hospital as hospitals
from domain.decider import StreamName
from domain.decision import decide
from domain.errors import Rejected
from domain.identifiers import AgendaId
from infra.imports.agendas_csv import FileRefused, Problem, Row, parse, problem_of, read_content
from infra.log.core import Core, open_core
from infra.log.submission import Key, Outcome
from infra.postgres.database import running
from infra.running.settings import Settings
from infra.running.terminating import run_until_terminated

ACTOR = "import"
ROWS_AT_ONCE = 256
PROBLEMS_KEPT_MAX = 100
INTERRUPTED = "the database does not answer any more; import the same file again to complete it"


T = TypeVar("T")


class Report(msgspec.Struct):
    """The result of an import, in numbers of agendas.

    `already_there` were published before with the same content, `already_imported` of them by this very file.
    `refused` counts all refused rows; `problems` has the first PROBLEMS_KEPT_MAX. `error` is "" unless the file was
    refused (then nothing was written) or the database stopped answering.
    """

    published: int = 0
    already_there: int = 0
    already_imported: int = 0
    refused: int = 0
    error: str = ""
    problems: list[Problem] = []

    @property
    def ok(self) -> bool:
        return not self.error and not self.refused

    def blame(self, problem: Problem) -> None:
        self.refused += 1
        if len(self.problems) < PROBLEMS_KEPT_MAX:
            self.problems.append(problem)

    def lines(self) -> Iterator[str]:
        """The report for people."""
        if self.error:
            yield f"igob: {self.error}"
        yield from map(str, self.problems)
        if self.refused > len(self.problems):
            yield f"and {self.refused - len(self.problems)} more"
        before = f" ({self.already_imported} of them imported from this file before)" if self.already_imported else ""
        if not self.error or self.published or self.already_there:
            yield (
                f"{self.published} agendas published, {self.already_there} already there{before},"
                f" {self.refused} refused"
            )


def import_file(
    path: Path, settings: Settings, *, now: datetime, say: Callable[[str], None], console: Console
) -> Report:
    """Publish the agendas of a file on the database of the settings, which is started if necessary.

    Raises OSError, SettingError, FolderHeld, EmbeddedError, MigrationError, psycopg.OperationalError.
    """
    try:
        content = read_content(path)

        async def work() -> Report:
            async with open_core(settings) as core:
                at_once = min(ROWS_AT_ONCE, settings.queue_max)
                return await import_agendas(core, content, now=now, console=console, at_once=at_once)

        for _ in parse(content):  # errors of the file as a whole are found without the database
            break
        with running(settings, "igob import agendas", say):
            report = run_until_terminated(work())
    except FileRefused as refusal:
        report = Report(error=str(refusal))
    if report.error:
        report.error = f"{path}: {report.error}"
    return report


async def import_agendas(
    core: Core, content: bytes, *, now: datetime, console: Console, at_once: int = ROWS_AT_ONCE
) -> Report:
    """Check all rows against the present moment and the log. If all are valid, publish them, `at_once` at a time.

    Raises FileRefused; psycopg.OperationalError or PoolTimeout if the database does not answer.
    """
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        checking = progress.add_task("checking", total=None)
        rows, report = await check(core, content, now=now, advance=lambda n: progress.advance(checking, n))
        if report.refused:
            wrong = "1 row is" if report.refused == 1 else f"{report.refused} rows are"
            report.error = f"nothing was imported: {wrong} not valid"
            return report
        progress.update(checking, total=rows)
        publishing = progress.add_task("publishing", total=rows)
        return await _publish(core, content, at_once=at_once, advance=lambda n: progress.advance(publishing, n))


async def check(
    core: Core, content: bytes, *, now: datetime, advance: Callable[[int], None] = lambda _: None
) -> tuple[int, Report]:
    """The number of rows, and a report of those that would be refused. Writes nothing. Raises FileRefused."""
    count = 0
    report = Report()
    line_of: dict[AgendaId, int] = {}
    known: dict[StreamName, Any] = {}  # hospitals are few, and looked up once
    for some in _chunks(parse(content), ROWS_AT_ONCE):
        refused = await _refused(core, [row for row in some if isinstance(row, Row)], known, now)
        for row in some:
            if isinstance(row, Problem):
                report.blame(row)
                continue
            first = line_of.setdefault(row.command.agenda, row.line)
            if first != row.line:
                report.blame(
                    Problem(row.line, "", "doubled", f"the agenda {row.command.agenda} is on line {first} too")
                )
            elif row.line in refused:
                report.blame(problem_of(row.line, refused[row.line]))
        count += len(some)
        advance(len(some))
    if not count:
        raise FileRefused("has a header, but no rows")
    return count, report


async def _refused(core: Core, rows: list[Row], known: dict[StreamName, Any], now: datetime) -> dict[int, Rejected]:
    """The rows that the domain would refuse now, by line. Their hospitals are added to `known`.

    Rows that were published before are not refused, whatever the day: a killed run can be completed later.
    """
    missing: set[StreamName] = {hospitals.stream(row.command.hospital) for row in rows}
    missing -= known.keys()
    missing |= {agendas.stream(row.command.agenda) for row in rows}
    states = known | {name: loaded.state for name, loaded in (await core.log.load(missing)).items()}
    refused = {}
    for row in rows:
        hospital, agenda = hospitals.stream(row.command.hospital), agendas.stream(row.command.agenda)
        known[hospital] = states[hospital]
        try:
            decide(row.command, {hospital: states[hospital], agenda: states[agenda]}, now)
        except Rejected as refusal:
            refused[row.line] = refusal
    return refused


async def _publish(core: Core, content: bytes, *, at_once: int, advance: Callable[[int], None]) -> Report:
    report = Report()
    digest = hashlib.sha256(content).hexdigest()
    for some in _chunks((row for row in parse(content) if isinstance(row, Row)), at_once):
        answers = await asyncio.gather(
            *(core.lane.submit(row.command, Key(ACTOR, f"{digest}:{row.line}")) for row in some),
            return_exceptions=True,
        )
        for row, answer in zip(some, answers, strict=True):
            if isinstance(answer, Outcome):
                report.published += bool(answer.recorded)
                report.already_there += not answer.recorded
                report.already_imported += answer.replayed
            elif not isinstance(answer, Rejected):
                raise answer
            elif answer.code in {"unavailable", "overloaded"}:
                report.error = INTERRUPTED
            else:
                report.blame(problem_of(row.line, answer))
        advance(len(some))
        if report.error:
            break
    return report


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
