"""The command line when it is ended early, used by several at once, or told nonsense."""

import asyncio
import io
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import psycopg
import pytest

from api.access.identity import Identities
from bench.login import SECRET
from infra.cli import messages
from infra.gateways.keys import DevelopmentKeys
from infra.postgres.database import running_database
from infra.postgres.embedded import OWNER, EmbeddedPostgres
from infra.running import serve
from infra.running.secret import Secret
from infra.running.settings import Settings
from tests import programs
from tests.clusters import prepare
from tests.faults import using
from tests.faults.rig import wait_for
from tests.programs import Piped
from tests.serving import CHECKOUT, IGOB, environment, igob, igob_here, postmaster_of

WAIT_S = 60
HEADER = "hospital,specialty,practitioner,date,start,end,minutes"
ROW = f"la-merced,pediatrics,p-1,{date.today() + timedelta(days=9)},08:00,12:00,20"  # noqa: DTZ011 (any day ahead)

Start = Callable[..., Piped]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A fresh data folder; a server that a failed test left there is ended."""
    yield tmp_path / "city"
    if left := postmaster_of(tmp_path / "city"):
        left.send_signal(signal.SIGINT)
        left.wait(WAIT_S)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program with pipes; whatever still runs afterwards is ended."""
    started = []

    def begin(main: str, *arguments: str) -> Piped:
        process = Piped(main, *arguments, environment=environment())
        started.append(process)
        return process

    yield begin
    for process in started:
        process.close()


def gone(postmaster: psutil.Process | None) -> bool:
    """Whether it runs no more; one that nobody reaped does not."""
    return postmaster is None or not postmaster.is_running() or postmaster.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("command", ["serve --port 0 --demo", "demo", "db migrate", "import agendas FILE"])
def test_a_termination_during_the_start_stops_the_database(
    folder: Path, tmp_path: Path, start: Start, command: str
) -> None:
    file = tmp_path / "agendas.csv"
    file.write_text(f"{HEADER}\n{ROW}\n")
    words = [str(file) if word == "FILE" else word for word in command.split()]
    if command != "demo":  # which makes it from nothing; the others find one, and start sooner
        prepare(folder)
    process = start(programs.IGOB, *words, "--data-dir", str(folder))
    wait_for(lambda: postmaster_of(folder))
    postmaster = postmaster_of(folder)
    process.terminate()
    time.sleep(0.02)
    process.terminate()  # while it cleans up
    assert process.wait(WAIT_S) == 143
    assert gone(postmaster)
    assert postmaster_of(folder) is None
    assert "Traceback" not in process.stderr.read()


def test_a_termination_during_work_stops_the_database(folder: Path, start: Start) -> None:
    process = start(programs.IGOB, "demo", "--data-dir", str(prepare(folder)))

    def has_events() -> bool:
        with suppress(psycopg.Error), psycopg.connect(EmbeddedPostgres(folder).conninfo(OWNER)) as connection:
            return connection.execute("SELECT 1 FROM la_paz.events LIMIT 1").fetchone() is not None
        return False

    wait_for(lambda: postmaster_of(folder) and has_events())
    postmaster = postmaster_of(folder)
    process.terminate()
    assert process.wait(WAIT_S) == 143
    assert gone(postmaster)


@pytest.mark.parametrize("command", ["migrate", "scrub"])
def test_a_long_path_works_with_the_first_command(tmp_path: Path, command: str) -> None:
    folder = tmp_path / ("y" * 150)
    if command != "migrate":  # creating one is the same for both
        prepare(folder)
    done = igob("db", command, "--data-dir", str(folder))
    assert done.returncode == 0, done.stderr


def test_an_interrupted_launch_leaves_no_database_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = []

    def cut_short(*args: Any, **options: Any) -> None:
        if options.get("start_new_session"):
            launched.append(popen(*args, **options))
            raise SystemExit(143)

    settings = Settings(data_dir=prepare(folder))
    with running_database(settings, "a test", lambda _: None):
        pass
    popen = subprocess.Popen
    monkeypatch.setattr(
        "infra.postgres.embedded.subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": cut_short})
    )
    with pytest.raises(SystemExit), running_database(settings, "a test", lambda _: None):
        pass
    assert launched[0].wait(WAIT_S) == 0
    assert postmaster_of(folder) is None


def test_a_termination_during_the_stop_completes_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, stopped = EmbeddedPostgres.stop, []

    def cut_short(server: EmbeddedPostgres) -> None:
        stopped.append(server)
        if len(stopped) == 1:
            raise SystemExit(143)
        stop(server)

    monkeypatch.setattr(EmbeddedPostgres, "stop", cut_short)
    with pytest.raises(SystemExit), running_database(Settings(data_dir=prepare(folder)), "a test", lambda _: None):
        postmaster = postmaster_of(folder)
    assert gone(postmaster)


def test_the_starter_stops_the_database_after_its_last_user(folder: Path, start: Start) -> None:
    def uses(process: Piped) -> bool:
        return process.stdout.readline() == "uses\n"

    first = start(using.MAIN, str(prepare(folder)), SECRET)
    assert uses(first)
    postmaster = postmaster_of(folder)
    second = start(using.MAIN, str(folder), SECRET)
    assert uses(second)

    first.stdin.write("\n")
    first.stdin.flush()
    assert first.stdout.readline() == "(0,)\n"
    output = iter(first.stderr.readline, "")
    assert any("waiting for others to finish" in line for line in output)
    assert first.poll() is None
    third = start(using.MAIN, str(folder), SECRET)  # may come while the first waits
    assert uses(third)
    for process in (third, second):
        out, err = process.communicate("\n", timeout=WAIT_S)
        assert (process.returncode, out) == (0, "(0,)\n"), err
    assert first.wait(WAIT_S) == 0
    assert gone(postmaster)


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_an_impossible_port_is_a_usage_error(folder: Path, port: str) -> None:
    refused = igob_here("serve", "--port", port, "--data-dir", str(folder))
    assert refused.returncode == 2
    assert "--port" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IGOB_DATABASE_URL", "foo"),
        ("IGOB_DATABASE_URL", "postgresql:///city"),
        ("IGOB_DATABASE_OWNER_URL", "foo"),
        ("IGOB_SCHEMA", "pg_foo"),
    ],
)
def test_an_invalid_setting_is_reported_in_a_line(name: str, value: str) -> None:
    refused = igob_here(
        "db", "migrate", **{"IGOB_DATABASE_URL": "postgresql://app@/city", "IGOB_SECRET": "5e" * 32, name: value}
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"igob: {name} must be ")
    assert refused.stderr.count("\n") == 1


def test_a_taken_port_is_named_with_its_host(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = igob("serve", "--host", "localhost", "--port", str(port), "--data-dir", str(folder))
    assert refused.returncode == 1
    assert refused.stderr == (
        f"igob: can't listen on 127.0.0.1:{port}: Address already in use."
        f" Choose another port with --port {port + 1}, or with make serve PORT={port + 1}\n"
    )


@pytest.mark.parametrize("first_day", ["2020-01-01", "9999-12-30"])
def test_an_unpublishable_demo_city_is_reported(folder: Path, first_day: str) -> None:
    refused = igob_here("demo", "--first-day", first_day, "--data-dir", str(folder))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"igob: --first-day {first_day} is ")
    assert refused.stderr.count("\n") == 1
    assert not folder.exists()


@pytest.mark.parametrize("seed", ["10000", "-1"])
def test_a_seed_out_of_range_is_a_usage_error(folder: Path, seed: str) -> None:
    refused = igob_here("demo", "--seed", seed, "--data-dir", str(folder))
    assert refused.returncode == 2
    assert "--seed" in refused.stderr
    assert not folder.exists()


class Refusing(io.StringIO):
    """A stderr that nobody reads any more."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, _text: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "full"), ValueError("closed")])
def test_a_failing_stderr_does_not_end_the_work(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(sys, "stderr", Refusing(error))
    messages.say("hello")
    messages.say("again")


def test_a_full_stderr_does_not_block_the_work(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*IGOB, "db", "migrate", "--data-dir", str(prepare(folder))],
        cwd=CHECKOUT,
        env=environment(),
        stderr=writing,
        timeout=WAIT_S,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0
    assert (folder / "pg").is_dir()


# Watches over what stands in the place of a server: it has stopped, and looks and starts fail in unforeseen ways.
WATCH = """
import time
from infra.cli.messages import say
from infra.running import serve
from infra.running.parts import Parts

class Stumbling:
    looks = 0

    def has_stopped(self):
        self.looks += 1
        if self.looks % 2:
            raise RuntimeError("a look")
        return True

    def start(self):
        raise RuntimeError("a start")

serve.WATCH_EVERY_S = serve.RESTART_PAUSE_S = 0.01
parts = Parts([], say)
server = Stumbling()
watch = serve.DatabaseWatch(server, parts, say)
while server.looks < 5:
    watch.tick()
    parts.tick()
    time.sleep(0.01)
parts.stop()
"""


def test_the_database_watch_survives_unexpected_errors() -> None:
    watched = subprocess.run([sys.executable, "-c", WATCH], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert set(watched.stderr.splitlines()) == {
        "the database does not start: a look",
        "the database stopped; starting it again",
        "the database does not start: a start",
    }


def test_the_address_is_printed_after_a_non_http_answer() -> None:
    ready, said = mmap.mmap(-1, 1), list[str]()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        announcer = threading.Thread(target=serve._announce, args=(url, ready, said.append))
        announcer.start()
        behind = b'{"views": {"one": {"lagEvents": 1}, "other": null}}'
        caught_up = b'{"views": {"one": {"lagEvents": 0}, "other": {"lagEvents": 0}}}'
        bodies = [
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) for body in (behind, caught_up)
        ]
        for answer in (b"what?\r\n\r\n", *bodies):
            with listener.accept()[0] as client:
                client.recv(65_536)
                client.sendall(answer)
        announcer.join(WAIT_S)
    assert said == [f"iGob Core is ready: {url}/graphql"]
    assert ready[0] == 1


def test_igob_token_prints_the_requested_identity(folder: Path) -> None:
    secret = Secret(bytes.fromhex(SECRET))
    keys, now = DevelopmentKeys(secret), datetime.now(UTC)
    made = igob("token", "--role", "hospital_clerk", "--hospital", "la-merced", "--subject", "rosa", "--hours", "2")
    identities = Identities(keys, Settings(), secret, lambda: now)
    rosa = asyncio.run(identities.actor(f"Bearer {made.stdout.strip()}".encode()))
    assert (list(rosa.roles), rosa.subject, list(rosa.hospitals)) == (["hospital_clerk"], "rosa", ["la-merced"])
    assert rosa.expires_at
    assert timedelta(hours=1.9) < rosa.expires_at - now < timedelta(hours=2.1)
    ana = asyncio.run(identities.actor(f"Bearer {igob_here('token', '--identity', '4820193').stdout.strip()}".encode()))
    assert ana.roles == ("citizen",)
    for wanted, reason in (
        (("--identity", "12"), "12 is no identity number"),
        (("--hospital", "La Merced"), "La Merced is no hospital's code"),
        (("--hours", "nan"), "hours"),
    ):
        wrong = igob_here("token", *wanted)
        assert (wrong.returncode != 0, wrong.stdout) == (True, "")
        assert reason in wrong.stderr.lower().replace("la merced", "La Merced")
    nowhere = igob_here("token", "--data-dir", str(folder / "nothing"), IGOB_SECRET="")
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert "nothing has no secret" in nowhere.stderr.replace("\n", " ")
    assert not (folder / "nothing").exists()
    refused = igob_here("token", "--role", "emperor")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "there is no role emperor" in refused.stderr
    elsewhere = igob_here("token", IGOB_OIDC_ISSUER="https://id.example")
    assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
    assert "https://id.example signs the tokens here" in elsewhere.stderr
