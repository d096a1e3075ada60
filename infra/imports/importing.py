"""Importing a file: all rows are checked first, then each is sent through the committer as one command."""

import asyncio
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from rich.console import Console
from rich.progress import Progress

from domain.decider import Command, StreamName
from domain.decision import DECISIONS, decide
from domain.errors import Rejected
from domain.identifiers import category_of
from infra.imports.problems import Problem, problem_of
from infra.imports.table import FileRefused, Row, Table, parse, read_content
from infra.log.core import Core, open_core
from infra.log.log import Loaded
from infra.log.submission import Key, Outcome
from infra.postgres.database import running_database
from infra.running.settings import Settings
from infra.running.terminating import run_until_terminated

ACTOR = "import"
ROWS_AT_ONCE = 256
PROBLEMS_KEPT_MAX = 100
INTERRUPTED = "the database does not answer any more; import the same file again to complete it"

T = TypeVar("T")
C = TypeVar("C", bound=Command)
R = TypeVar("R", bound="Report")


class AbstractStructMeta(msgspec.StructMeta, ABCMeta):
    """Of structs with abstract methods."""


class Report(msgspec.Struct, metaclass=AbstractStructMeta):
    """The result of an import, in numbers of rows. Each kind of import adds what its rows did.

    `already_there` changed nothing, because the log has the same. `refused` counts all refused rows; `problems` has the
    first PROBLEMS_KEPT_MAX. `error` is "" unless the file was refused (then nothing was written) or the database
    stopped answering. With `dry_run`, the numbers say what would happen, and nothing was written.
    """

    already_there: int = 0
    refused: int = 0
    error: str = ""
    problems: list[Problem] = []
    dry_run: bool = False

    @property
    def ok(self) -> bool:
        return not self.error and not self.refused

    @property
    @abstractmethod
    def changed(self) -> int:
        """How many rows wrote something."""

    @abstractmethod
    def count(self, *, existed: bool) -> None:
        """Count a row that wrote something. `existed`: something else was registered in its place before."""

    def count_there(self, *, replayed: bool) -> None:
        """Count a row that changed nothing. `replayed`: this file was imported before."""
        self.already_there += 1

    @abstractmethod
    def summary(self) -> str:
        """The numbers in a line of text."""

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
        if not self.error or self.changed or self.already_there:
            yield ("dry run, nothing was imported; it would be: " if self.dry_run else "") + self.summary()


class Import(msgspec.Struct, Generic[C, R], frozen=True):
    """A kind of import.

    Attributes:
        name: the subcommand of `igob import`.
        table: the form of its files.
        report: the class of its report.
        key_prefix: the first part of the idempotency keys for a file with this content; the line follows.
    """

    name: str
    table: Table[C]
    report: type[R]
    key_prefix: Callable[[bytes], str]


class Checked(NamedTuple):
    """A checked file: how many rows it has, and the lines of rows that replace something."""

    rows: int
    replacing: set[int]


def import_file(
    path: Path,
    kind: Import[C, R],
    settings: Settings,
    *,
    now: datetime,
    say: Callable[[str], None],
    console: Console,
    dry_run: bool = False,
) -> R:
    """Import a file on the database of the settings, which is started if necessary.

    Raises OSError, SettingError, FolderHeld, EmbeddedError, MigrationError, psycopg.OperationalError.
    """
    try:
        content = read_content(path)

        async def work() -> R:
            async with open_core(settings) as core:
                at_once = min(ROWS_AT_ONCE, settings.queue_max)
                return await import_rows(
                    core, content, kind, now=now, console=console, at_once=at_once, dry_run=dry_run
                )

        for _ in parse(content, kind.table):  # errors of the file as a whole are found without the database
            break
        with running_database(settings, f"igob import {kind.name}", say):
            report = run_until_terminated(work())
    except FileRefused as refusal:
        report = kind.report(error=str(refusal))
    if report.error:
        report.error = f"{path}: {report.error}"
    return report


async def import_rows(
    core: Core,
    content: bytes,
    kind: Import[C, R],
    *,
    now: datetime,
    console: Console,
    at_once: int = ROWS_AT_ONCE,
    dry_run: bool = False,
) -> R:
    """Check all rows against the present moment and the log. If all are valid, import them, `at_once` at a time.

    Raises FileRefused; psycopg.OperationalError or PoolTimeout if the database does not answer.
    """
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        checking = progress.add_task("checking", total=None)
        checked, report = await check(core, content, kind, now=now, advance=lambda n: progress.advance(checking, n))
        report.dry_run = dry_run
        if report.refused:
            wrong = "1 row is" if report.refused == 1 else f"{report.refused} rows are"
            refused = kind.report(refused=report.refused, problems=report.problems, dry_run=dry_run)
            refused.error = f"nothing was imported: {wrong} not valid"
            return refused
        if dry_run:
            return report
        progress.update(checking, total=checked.rows)
        task = progress.add_task("importing", total=checked.rows)
        return await _import(core, content, kind, checked, at_once=at_once, advance=lambda n: progress.advance(task, n))


async def check(
    core: Core,
    content: bytes,
    kind: Import[C, R],
    *,
    now: datetime,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Checked, R]:
    """What importing the file would do now, and a report of it with the rows that would be refused.

    Writes nothing. Raises FileRefused.
    """
    count = 0
    report = kind.report()
    replacing: set[int] = set()
    line_of: dict[str, int] = {}
    known: dict[StreamName, Loaded] = {}  # hospitals are few, and looked up once
    for some in _chunks(parse(content, kind.table), ROWS_AT_ONCE):
        effects = await _effects(core, [row for row in some if isinstance(row, Row)], known, now)
        for row in some:
            if isinstance(row, Problem):
                report.blame(row)
                continue
            effect, thing = effects[row.line], kind.table.thing(row.command)
            first = line_of.setdefault(thing, row.line)
            if first != row.line:
                report.blame(Problem(row.line, "", "doubled", f"{thing} is on line {first} too"))
            elif isinstance(effect, Rejected):
                report.blame(problem_of(row.line, effect))
            elif effect == "nothing":
                report.count_there(replayed=False)
            else:
                report.count(existed=effect == "replaces")
                replacing |= {row.line} if effect == "replaces" else set()
        count += len(some)
        advance(len(some))
    if not count:
        raise FileRefused("has a header, but no rows")
    return Checked(count, replacing), report


async def _effects(
    core: Core, rows: list[Row[C]], known: dict[StreamName, Loaded], now: datetime
) -> dict[int, str | Rejected]:
    """What the domain would decide now, by line: a refusal, "nothing", "adds" or "replaces".

    Rows that were imported before are not refused, whatever the day: a killed run can be completed later. Hospitals are
    added to `known`.
    """
    found = await _load(core, rows, known)
    states = {name: loaded.state for name, loaded in found.items()}
    known |= {name: loaded for name, loaded in found.items() if category_of(name) == "hospital"}
    effects: dict[int, str | Rejected] = {}
    for row in rows:
        try:
            recorded = decide(row.command, states, now)
        except Rejected as refusal:
            effects[row.line] = refusal
            continue
        existed = any(found[stream].version for stream, _ in recorded)
        effects[row.line] = "replaces" if existed else "adds" if recorded else "nothing"
    return effects


async def _load(core: Core, rows: list[Row[C]], known: dict[StreamName, Loaded]) -> dict[StreamName, Loaded]:
    """All streams that the commands of these rows read."""
    found = dict(known)
    while True:
        states = {name: loaded.state for name, loaded in found.items()}
        read = {name for row in rows for name in DECISIONS[type(row.command)].streams(row.command, states)}
        if read <= found.keys():
            return found
        found |= await core.log.load(read - found.keys())


async def _import(
    core: Core,
    content: bytes,
    kind: Import[C, R],
    checked: Checked,
    *,
    at_once: int,
    advance: Callable[[int], None],
) -> R:
    report = kind.report()
    prefix = kind.key_prefix(content)
    for some in _chunks((row for row in parse(content, kind.table) if isinstance(row, Row)), at_once):
        answers: list[Any] = await asyncio.gather(
            *(core.committer.submit(row.command, Key(ACTOR, f"{prefix}:{row.line}")) for row in some),
            return_exceptions=True,
        )
        for row, answer in zip(some, answers, strict=True):
            if isinstance(answer, Outcome):
                if answer.recorded:
                    report.count(existed=row.line in checked.replacing)
                else:
                    report.count_there(replayed=answer.replayed)
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
