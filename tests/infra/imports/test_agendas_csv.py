"""Agendas from a CSV file: what is read, what is refused and where, and that nothing is published twice."""

import csv
import io
import os
import signal
import subprocess
import sys
import tempfile
import time as clocks
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from domain.appointments.publishing import PublishAgenda, SlotTime
from domain.calendar import TIME_ZONE, local_date
from infra.imports import importing, table
from infra.imports.agendas import AGENDA_IMPORT
from infra.imports.agendas import AgendaReport as Report
from infra.imports.agendas_csv import AGENDAS, QUOTAS
from infra.imports.checking import Checked, check
from infra.imports.importing import import_rows
from infra.imports.layout import FileRefused
from infra.imports.problems import Problem
from infra.imports.report import PROBLEMS_KEPT_MAX
from infra.imports.table import Row, parse
from infra.log.core import Core
from infra.postgres.embedded import OWNER, EmbeddedPostgres
from tests.city import hospital, key
from tests.clusters import prepare
from tests.conftest import Clock
from tests.examples import examples
from tests.serving import igob_here, ran
from tests.towns import Town

DAY = date(2027, 1, 5)
HEADER = "hospital,specialty,practitioner,date,start,end,minutes"
GOOD = "la-merced,pediatrics,p-01,2027-01-05,08:00,10:00,20"
CLI = [sys.executable, "-c", "from infra.cli.main import main; main()"]
CLI_LIMIT_S = 120
REPOSITORY = Path(__file__).parents[3]


def row(**cells: str) -> str:
    """A valid row, with these cells replaced."""
    return ",".join((dict(zip(HEADER.split(","), GOOD.split(","), strict=True)) | cells).values())


def file(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def parsed(content: bytes) -> list[Row[PublishAgenda] | Problem]:
    return list(parse(content, AGENDAS))


def command(content: bytes) -> PublishAgenda:
    """The command of the only row."""
    (only,) = parsed(content)
    assert isinstance(only, Row), only
    return only.command


def problem(content: bytes) -> Problem:
    """The error of the only row."""
    (only,) = parsed(content)
    assert isinstance(only, Problem), only
    return only


async def run(core: Core, clock: Clock, content: bytes) -> Report:
    return await import_rows(core, content, AGENDA_IMPORT, now=clock.now, console=Console(quiet=True))


def slots(start: datetime, count: int, minutes: int) -> list[SlotTime]:
    return [SlotTime(start=start + timedelta(minutes=minutes * n), minutes=minutes) for n in range(count)]


EIGHT = datetime(2027, 1, 5, 12, tzinfo=UTC)
EXPECTED = PublishAgenda(
    hospital="la-merced", specialty="pediatrics", practitioner="p-01", date=DAY, slots=slots(EIGHT, 6, 20)
)


class TestReading:
    def test_a_row_is_an_agenda_of_consecutive_slots(self) -> None:
        assert command(file(GOOD)) == EXPECTED

    def test_a_slot_beyond_the_end_is_left_out(self) -> None:
        assert command(file(row(end="09:59"))).slots == slots(EIGHT, 5, 20)

    def test_an_agenda_may_end_at_midnight(self) -> None:
        late = command(file(row(start="23:00", end="24:00", minutes="30")))
        assert late.slots == slots(datetime(2027, 1, 6, 3, tzinfo=UTC), 2, 30)
        assert {local_date(slot.start) for slot in late.slots} == {DAY}

    def test_quotas_and_release_are_optional(self) -> None:
        header = HEADER + ",release_at,quota_web,quota_phone,quota_window,quota_assisted"
        full = command(file(GOOD + ",2027-01-04T07:00,3,0,,2", header=header))
        assert full.release_at == datetime(2027, 1, 4, 11, tzinfo=UTC)
        assert full.quotas == {"WEB": 3, "PHONE": 0, "ASSISTED": 2}
        assert command(file(GOOD + ",,,,,", header=header)) == EXPECTED
        assert command(file(GOOD + ",2027-01-04 07:00:30+02:00,,,,", header=header)).release_at == datetime(
            2027, 1, 4, 5, 0, 30, tzinfo=UTC
        )

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbf" + file(GOOD),
            file(GOOD).replace(b",", b";"),
            b"\xef\xbb\xbf" + file(GOOD).replace(b",", b";").replace(b"\n", b"\r\n"),
            file(GOOD).replace(b"\n", b"\r"),
            file(GOOD).rstrip(),
            file(GOOD, "", ",,,,,,"),
            file(GOOD.replace(",", " , "), header=HEADER.upper().replace(",", " ,")),
            file(",".join(f'"{cell}"' for cell in GOOD.split(","))),
            file(",".join(reversed(GOOD.split(","))), header=",".join(reversed(HEADER.split(",")))),
            b"\xef\xbb\xbfsep=;\r\n" + file(GOOD).replace(b",", b";").replace(b"\n", b"\r\n"),
            b'"SEP=,"\n' + file(GOOD),
        ],
        ids=[
            "bom",
            "semicolons",
            "excel",
            "cr",
            "no last newline",
            "blank rows",
            "blanks",
            "quotes",
            "order",
            "sep=;",
            "sep=,",
        ],
    )
    def test_spreadsheet_formats_are_read(self, content: bytes) -> None:
        assert command(content) == EXPECTED

    def test_line_numbers_are_those_of_the_file(self) -> None:
        content = file(row(practitioner='"p-\n\n01"'), "", GOOD, row(date='"\n2027-01-06"'), row(date="x"))
        assert [(found.line, type(found)) for found in parsed(content)] == [
            (2, Problem),
            (6, Row),
            (7, Row),
            (9, Problem),
        ]
        crlf = parsed(content.replace(b"\n", b"\r\n"))
        assert [found.line for found in crlf] == [2, 6, 7, 9]
        below = parsed(b"sep=,\n" + content)
        assert [found.line for found in below] == [3, 7, 8, 10]


class TestRows:
    @pytest.mark.parametrize(
        ("cells", "column", "text"),
        [
            ({"date": "2026-02-30"}, "date", "'2026-02-30' is not a date that exists"),
            ({"date": "2027-W01-1"}, "date", "is not a date"),
            ({"date": "20270105"}, "date", "is not a date"),
            ({"date": "05/01/2027"}, "date", "is not a date"),
            ({"date": ""}, "date", "is empty"),
            ({"date": "9999-12-31", "start": "20:00", "end": "21:00"}, "date", "beyond the calendar"),
            ({"start": "8:00"}, "start", "is not a time like 08:30"),
            ({"start": "٠٨:٠٠"}, "start", "is not a time"),
            ({"start": "24:00"}, "end", "is not after"),
            ({"end": "24:01"}, "end", "is not a time"),
            ({"end": "07:00"}, "end", "07:00 is not after the start, 08:00"),
            ({"end": "08:00"}, "end", "is not after the start"),
            ({"minutes": "121"}, "minutes", "no slot of 121 minutes fits"),
            ({"minutes": "0"}, "minutes", "must be >= 1"),
            ({"minutes": "-5"}, "minutes", "must be >= 1"),
            ({"minutes": "100000"}, "minutes", "must be <= 1440"),
            ({"minutes": "20.5"}, "minutes", "is not a whole number"),
            ({"minutes": "9" * 1000}, "minutes", "is not a whole number"),
            ({"hospital": "La Merced"}, "hospital", "like la-merced"),
            ({"specialty": "pediatría"}, "specialty", "like la-merced"),
            ({"practitioner": "p-" + "x" * 200}, "practitioner", "like la-merced"),
            ({"practitioner": " "}, "practitioner", "is empty"),
        ],
    )
    def test_a_wrong_cell_is_named_with_a_hint(self, cells: dict[str, str], column: str, text: str) -> None:
        found = problem(file(row(**cells)))
        assert (found.line, found.column, found.code) == (2, column, "invalid_input")
        assert text in found.text
        assert len(found.text) < 150

    @pytest.mark.parametrize("text", ["tomorrow", "2027-01-04", "2027-01-04T25:00", "0001-01-01T00:00+05:00"])
    def test_an_invalid_release_is_refused(self, text: str) -> None:
        assert problem(file(f"{GOOD},{text}", header=f"{HEADER},release_at")).column == "release_at"

    @pytest.mark.parametrize(("quota", "text"), [("-1", ">= 0"), ("5001", "<= 5000"), ("many", "whole number")])
    def test_a_quota_beyond_its_limits_is_refused(self, quota: str, text: str) -> None:
        found = problem(file(f"{GOOD},{quota}", header=f"{HEADER},quota_web"))
        assert found.column.startswith("quota_")
        assert text in found.text

    def test_a_row_with_missing_or_extra_cells_is_refused(self) -> None:
        assert "has 8 cells, where the first line has 7" in problem(file(GOOD + ",x")).text
        assert "has 6 cells" in problem(file(GOOD.rpartition(",")[0])).text

    def test_control_characters_reach_no_terminal(self) -> None:
        assert "\x1b" not in str(problem(file(row(date="\x1b[2J"))))

    @pytest.mark.parametrize(
        "bad",
        ['"la-merced' + GOOD[9:], f'"{"x" * 200_000}"' + GOOD[9:], '"la"-merced' + GOOD[9:], "x" * 5_000, "x\n" * 99],
        ids=["open quote", "huge field", "text after quote", "long line", "many lines"],
    )
    def test_invalid_csv_is_reported_with_its_line(self, bad: str) -> None:
        first, found, *_ = parsed(file(GOOD, bad, *[row(date="2027-01-06")] * 9_000))
        assert isinstance(first, Row)
        assert isinstance(found, Problem)
        assert (found.line, found.code) == (3, "row")


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b"", "is empty"),
            (b"\xef\xbb\xbf\r\n \n", "is empty"),
            (file(row(specialty="pediatría")).decode().encode("latin-1"), "is not UTF-8 (line 2)"),
            (file(GOOD).decode().encode("utf-16"), "is not UTF-8"),
            (file(GOOD).decode().encode("utf-16-le"), "is not UTF-8"),
            (bytes(range(256)) * 9, "is not UTF-8"),
            (GOOD.encode(), "lacks the columns hospital, specialty"),
            (file(header=HEADER.replace(",start,end", "")), "lacks the columns start, end"),
            (file(header=HEADER + ",quota_wbe"), "there are no such columns: 'quota_wbe'"),
            (file(header=HEADER + ",date"), "two columns date"),
            (file(header=HEADER.replace(",date", ",,date")), "no such columns: ''"),
            (file(header='"' + HEADER), "can't be read as CSV"),
            (b"x" * 10_000, "first line is longer"),
            (b"sep=;\n" + b"x" * 10_000, "first line is longer"),
            (b"sep=|\n" + file(GOOD), "says sep='|': separate the cells by commas, semicolons or tabs"),
            (b"sep=;", "lacks the columns"),
        ],
    )
    def test_an_unreadable_file_is_refused(self, content: bytes, text: str) -> None:
        with pytest.raises(FileRefused) as refused:
            parsed(content)
        assert text in str(refused.value)

    def test_rows_are_limited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "ROWS_MAX", 3)
        assert len(parsed(file(GOOD, GOOD, GOOD))) == 3
        with pytest.raises(FileRefused, match="more than 3 rows"):
            parsed(file(GOOD, GOOD, GOOD, GOOD))

    def test_bytes_are_limited(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = tmp_path / "agendas.csv"
        path.write_bytes(file(GOOD))
        assert table.read_content(path) == file(GOOD)
        monkeypatch.setattr(table, "FILE_MAX_BYTES", len(file(GOOD)) - 1)
        with pytest.raises(FileRefused, match="is larger"):
            table.read_content(path)


codes = st.from_regex("[a-z0-9](-?[a-z0-9]){0,20}", fullmatch=True)
offsets = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@st.composite
def agendas_and_cells(draw: st.DrawFn) -> tuple[PublishAgenda, dict[str, str]]:
    """A command, and the cells of its row."""
    day = draw(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
    minutes = draw(st.integers(1, 1440))
    count = draw(st.integers(1, 1440 // minutes))
    start = draw(st.integers(0, 1440 - minutes * count))
    end = min(start + minutes * count + draw(st.integers(0, minutes - 1)), 1440)
    release_at = draw(st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=offsets))  # noqa: DTZ001
    if release_at:
        release_at = release_at.replace(microsecond=0)
    quotas = draw(st.dictionaries(st.sampled_from(list(QUOTAS)), st.integers(0, 5_000)))
    cells = {
        "date": day.isoformat(),
        "start": f"{start // 60:02d}:{start % 60:02d}",
        "end": f"{end // 60:02d}:{end % 60:02d}",
        "minutes": str(minutes),
        "release_at": release_at.isoformat() if release_at else "",
        **{name: draw(codes) for name in ("hospital", "specialty", "practitioner")},
        **dict.fromkeys(QUOTAS, ""),
        **{name: str(limit) for name, limit in quotas.items()},
    }
    wanted = PublishAgenda(
        hospital=cells["hospital"],
        specialty=cells["specialty"],
        practitioner=cells["practitioner"],
        date=day,
        slots=slots(datetime.combine(day, time(), TIME_ZONE) + timedelta(minutes=start), count, minutes),
        quotas={QUOTAS[name]: limit for name, limit in quotas.items()},
        release_at=release_at,
    )
    return wanted, cells


@given(
    rows=st.lists(agendas_and_cells(), max_size=5),
    columns=st.permutations(AGENDAS.columns),
    dialect=st.fixed_dictionaries(
        {
            "delimiter": st.sampled_from(",;"),
            "lineterminator": st.sampled_from(["\n", "\r\n"]),
            "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        }
    ),
    bom=st.booleans(),
)
@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
def test_rows_become_commands(
    rows: list[tuple[PublishAgenda, dict[str, str]]],
    columns: list[str],
    dialect: dict[str, Any],
    bom: bool,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, **dialect)
    writer.writeheader()
    writer.writerows(cells for _, cells in rows)
    content = text.getvalue().encode("utf-8-sig" if bom else "utf-8")
    assert parsed(content) == [Row(line, wanted) for line, (wanted, _) in enumerate(rows, start=2)]


@given(st.binary(max_size=200) | st.text(alphabet=HEADER + GOOD + ';"\r\n\x00é', max_size=400).map(str.encode))
@settings(deadline=None, max_examples=examples(100))
def test_any_file_is_read_or_refused(noise: bytes) -> None:
    for content in (noise, file() + noise, file(GOOD) + noise):
        with suppress(FileRefused):
            assert all(found.line >= 2 for found in parse(content, AGENDAS))


@pytest.mark.anyio
class TestImporting:
    @pytest.fixture(autouse=True)
    async def _hospital(self, core: Core) -> None:
        await core.committer.submit(hospital(), key("hospital"))

    @staticmethod
    def events(town: Town) -> list[tuple[object, ...]]:
        return town.execute("SELECT stream, actor FROM event_log WHERE event = 'agenda_published.v1' ORDER BY position")

    async def test_a_second_import_changes_nothing(self, core: Core, town: Town, clock: Clock) -> None:
        content = file(GOOD, row(practitioner="p-02"), row(date="2027-01-06"))
        assert await run(core, clock, content) == Report(published=3)
        assert self.events(town) == [
            ("agenda/la-merced/2027-01-05/p-01", "import"),
            ("agenda/la-merced/2027-01-05/p-02", "import"),
            ("agenda/la-merced/2027-01-06/p-01", "import"),
        ]
        again = await run(core, clock, content)
        assert again == Report(already_there=3, already_imported=3)
        assert "already there (3 of them imported from this file before)" in list(again.lines())[-1]
        assert await run(core, clock, content + b"\n") == Report(already_there=3)  # another file with the same rows
        assert len(self.events(town)) == 3

    async def test_wrong_rows_are_reported_by_line_and_nothing_is_written(
        self, core: Core, town: Town, clock: Clock
    ) -> None:
        content = file(
            GOOD,
            row(hospital="no-such", practitioner="p-02"),
            row(date="2027-01-03"),
            row(date="2028-06-01"),
            row(date="2026-02-30"),
            row(specialty="cardiology"),
            row(practitioner="p-09", end="07:00"),
        )
        head = await core.log.head()
        report = await run(core, clock, content)
        assert [(said.line, said.column, said.code) for said in report.problems] == [
            (3, "hospital", "hospital_unknown"),
            (4, "date", "in_the_past"),
            (5, "date", "too_far_ahead"),
            (6, "date", "invalid_input"),
            (7, "", "doubled"),
            (8, "end", "invalid_input"),
        ]
        assert "there is no hospital no-such" in report.problems[0].text
        assert "la-merced/2027-01-05/p-01 is on line 2 too" in report.problems[4].text
        assert report.error == "nothing was imported: 6 rows are not valid"
        assert not report.ok
        assert await core.log.head() == head

    async def test_the_number_of_reported_problems_is_limited(self, core: Core, clock: Clock) -> None:
        report = await run(core, clock, file(*[row(date="x")] * 300))
        assert report.refused == 300
        assert len(report.problems) == PROBLEMS_KEPT_MAX
        assert list(report.lines())[-1] == "and 200 more"

    async def test_a_changed_agenda_is_reported_and_nothing_is_written(
        self, core: Core, town: Town, clock: Clock
    ) -> None:
        await run(core, clock, file(GOOD))
        changed = file(row(practitioner="p-02"), row(minutes="30"), row(practitioner="p-03"))
        report = await run(core, clock, changed)
        assert (report.published, report.refused) == (0, 1)
        assert report.error == "nothing was imported: 1 row is not valid"
        assert (report.problems[0].line, report.problems[0].code) == (3, "agenda_exists")
        assert len(self.events(town)) == 1

    async def test_an_agenda_published_meanwhile_refuses_only_its_row(
        self, core: Core, town: Town, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def check_and_lose(*args: Any, **options: Any) -> tuple[Checked, Report]:
            checked = await check(*args, **options)
            await core.committer.submit(command(file(row(minutes="30"))), key("rival"))
            return checked

        monkeypatch.setattr(importing, "check", check_and_lose)
        report = await run(core, clock, file(GOOD, row(practitioner="p-02")))
        assert (report.published, report.refused, report.error) == (1, 1, "")
        assert (report.problems[0].line, report.problems[0].code) == (2, "agenda_exists")
        assert len(self.events(town)) == 2

    async def test_an_interrupted_import_is_completed_the_next_day(self, core: Core, clock: Clock) -> None:
        later = [row(date="2027-01-06", practitioner=f"p-{n}") for n in range(300)]
        await run(core, clock, file(GOOD))
        clock.wait(86_400 * 1.5)
        assert await run(core, clock, file(GOOD, *later)) == Report(published=300, already_there=1)
        changed = await run(core, clock, file(row(minutes="30")))
        assert changed.problems[0].code == "agenda_exists"

    async def test_a_file_without_rows_imports_nothing(self, core: Core, clock: Clock) -> None:
        with pytest.raises(FileRefused, match="no rows"):
            await check(core, file(), AGENDA_IMPORT, now=clock.now)

    async def test_a_lost_database_is_reported_once(self, core: Core, clock: Clock) -> None:
        await core.committer.stop()
        report = await run(core, clock, file(GOOD, row(practitioner="p-02")))
        assert report == Report(error=importing.INTERRUPTED)


def igob(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return ran([str(word) for word in words], environment())


def environment() -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("IGOB_")}
    return plain | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A data folder with the demo city in its log, and so with hospitals."""
    with tempfile.TemporaryDirectory(prefix="igob-test-") as folder:
        path = prepare(Path(folder) / "igob")
        made = igob("demo", "--data-dir", path, "--first-day", tomorrow())
        assert made.returncode == 0, made.stderr
        yield path


def tomorrow() -> str:
    return (local_date(datetime.now(UTC)) + timedelta(days=1)).isoformat()


class TestCommand:
    def test_a_file_is_imported_once(self, data_dir: Path, tmp_path: Path) -> None:
        path = tmp_path / "agendas.csv"
        path.write_bytes(b"\xef\xbb\xbf" + file(*[row(date=tomorrow(), practitioner=f"x-{n}") for n in range(40)]))
        first = igob("import", "agendas", path, "--data-dir", data_dir)
        assert (first.returncode, first.stdout) == (0, "")
        assert "40 agendas published, 0 already there, 0 refused" in first.stderr
        second = igob("import", "agendas", path, "--data-dir", data_dir, "--json")
        assert second.returncode == 0
        assert msgspec.json.decode(second.stdout, type=Report) == Report(already_there=40, already_imported=40)

    def test_a_wrong_file_is_explained(self, data_dir: Path, tmp_path: Path) -> None:
        path = tmp_path / "agendas.csv"
        path.write_bytes(file(row(date="2026-02-30"), row(date=tomorrow(), hospital="nowhere")))
        done = igob("import", "agendas", path, "--data-dir", data_dir)
        assert done.returncode == 1
        assert f"igob: {path}: nothing was imported: 2 rows are not valid" in done.stderr
        assert "line 2, column date: '2026-02-30' is not a date that exists" in done.stderr
        assert "line 3, column hospital: there is no hospital nowhere" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
    def test_an_unusable_file_is_reported_in_a_line(self, content: bytes | None, tmp_path: Path) -> None:
        path = tmp_path / "agendas.csv"
        if content is not None:
            path.write_bytes(content)
        done = igob_here("import", "agendas", str(path), "--data-dir", str(tmp_path / "igob"))
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "igob").exists()

    def test_a_killed_import_is_completed_by_a_second_run(self, data_dir: Path, tmp_path: Path) -> None:
        rows = 2_000
        path = tmp_path / "agendas.csv"
        path.write_bytes(file(*[row(date=tomorrow(), practitioner=f"k-{n}") for n in range(rows)]))
        server = EmbeddedPostgres(data_dir)
        with server.hold("a test"):
            server.start()
            with psycopg.connect(server.conninfo(OWNER), autocommit=True) as connection:

                def published() -> int:
                    found = connection.execute(
                        "SELECT count(*) FROM la_paz.events"
                        " WHERE topic = 'agenda_published.v1' AND split_part(originator_id, '/', 4) LIKE 'k-%'"
                    ).fetchone()
                    assert found is not None
                    return int(found[0])

                running = subprocess.Popen(
                    [*CLI, "import", "agendas", str(path), "--data-dir", str(data_dir)], env=environment()
                )
                deadline_s = clocks.monotonic() + CLI_LIMIT_S
                while not published() and clocks.monotonic() < deadline_s:
                    assert running.poll() is None
                running.send_signal(signal.SIGKILL)
                running.wait()
                before = published()
                assert 0 < before < rows
                done = igob("import", "agendas", path, "--data-dir", data_dir, "--json")
                report = msgspec.json.decode(done.stdout, type=Report)
                # What was under way when it was killed may still have been committed after we counted.
                assert report.published + report.already_there == rows == published()
                assert report.already_there == report.already_imported >= before
            server.stop()
