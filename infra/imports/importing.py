"""Importing a file: all rows are checked first, then each is sent through the committer as one command."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from rich.console import Console
from rich.progress import Progress

from domain.decider import Command, required_parties
from domain.errors import Rejected
from infra.imports.checking import ROWS_AT_ONCE, Import, check, chunked, drop
from infra.imports.layout import FileRefused
from infra.imports.problems import problem_of
from infra.imports.report import Report
from infra.imports.spool import Spool
from infra.imports.table import Row, parse, read_content
from infra.log.core import Core, open_core
from infra.log.submission import Key, Outcome
from infra.postgres.database import running_database
from infra.running.settings import Settings
from infra.running.terminating import run_until_terminated

ACTOR = "import"
BLOCKS_AT_ONCE = 2  # one is written while the next is read
CACHE_MIB_MAX = 32  # a file names most streams once
INTERRUPTED = "the database does not answer any more; import the same file again to complete it"

C = TypeVar("C")
R = TypeVar("R", bound=Report)


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
            async with open_core(lean) as core:
                return await import_rows(core, content, kind, now=now, console=console, dry_run=dry_run)

        lean = msgspec.structs.replace(settings, cache_mib=min(settings.cache_mib, CACHE_MIB_MAX))
        for _ in parse(content, kind.table):  # errors of the file as a whole are found without the database
            break
        with running_database(settings, f"igob import {kind.name}", say):
            report = run_until_terminated(work())
    except FileRefused as refusal:
        report = kind.report(error=str(refusal))
    if report.error:
        report.error = f"{shown_path(path)}: {report.error}"
    return report


def shown_path(path: Path) -> str:
    """A path, safe to print: names of files need not be UTF-8, and may have control characters."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


async def import_rows(
    core: Core,
    content: bytes,
    kind: Import[C, R],
    *,
    now: datetime,
    console: Console,
    dry_run: bool = False,
) -> R:
    """Check all rows against the present moment and the log. If all are valid, import them, a block at a time.

    Raises FileRefused; psycopg.OperationalError or PoolTimeout if the database does not answer.
    """
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress, Spool() as spool:
        lines = content.count(b"\n")  # about as many rows
        checking = progress.add_task("checking", total=lines)
        checked, report = await check(
            core,
            content,
            kind,
            now=now,
            advance=lambda n: progress.advance(checking, n),
            keep=drop if dry_run else spool.add,
        )
        report.dry_run = dry_run
        if report.refused:
            return _refused(report)
        if dry_run:
            return report
        progress.update(checking, total=checked.rows, completed=checked.rows)
        task = progress.add_task("importing", total=spool.count)
        there = 0 if kind.tells_repetitions else report.already_there
        return await _import(
            core,
            spool.rows(),
            kind.report(already_there=there),
            prefix=kind.key_prefix(content),
            replacing=checked.replacing,
            advance=lambda n: progress.advance(task, n),
        )


def _refused(report: R) -> R:
    """The report of a file with wrong rows: nothing of it is imported."""
    wrong = "1 row is" if report.refused == 1 else f"{report.refused} rows are"
    return type(report)(
        refused=report.refused,
        problems=report.problems,
        error=f"nothing was imported: {wrong} not valid",
        dry_run=report.dry_run,
    )


class _Sent(NamedTuple):
    """Rows that were submitted, and the futures of their outcomes."""

    rows: Sequence[Row[Command]]
    outcomes: Sequence["asyncio.Future[Outcome]"]


async def _import(
    core: Core,
    rows: Iterator[Row[Command]],
    report: R,
    *,
    prefix: str,
    replacing: set[int],
    advance: Callable[[int], None],
) -> R:
    """Submit the rows, two blocks at a time, and count their outcomes."""
    blocks_at_once = min(BLOCKS_AT_ONCE, core.committer.queue_max)
    under_way: deque[_Sent] = deque()
    for block in chunked(rows, min(ROWS_AT_ONCE, core.committer.queue_max // blocks_at_once)):
        under_way.append(_submit(core, block, prefix))
        if len(under_way) == blocks_at_once:
            await _receive(under_way.popleft(), report, replacing, advance)
        if report.error:
            break
    while under_way:
        await _receive(under_way.popleft(), report, replacing, advance)
    return report


def _submit(core: Core, rows: Sequence[Row[Command]], prefix: str) -> _Sent:
    outcomes = [
        core.committer.submit(
            row.command, Key(ACTOR, f"{prefix}:{row.line}"), required_parties=required_parties(row.command)
        )
        for row in rows
    ]
    return _Sent(rows, outcomes)


async def _receive(sent: _Sent, report: Report, replacing: set[int], advance: Callable[[int], None]) -> None:
    for row, waiting in zip(sent.rows, sent.outcomes, strict=True):
        try:
            outcome = await waiting  # most are there by now, which costs nothing
        except Rejected as refusal:
            if refusal.code in {"unavailable", "overloaded"}:
                report.error = INTERRUPTED
            else:
                report.blame(problem_of(row.line, refusal))
            continue
        if outcome.recorded:
            report.count(existed=row.line in replacing)
        else:
            report.count_there(replayed=outcome.replayed)
    advance(len(sent.rows))
