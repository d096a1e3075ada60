"""What the committer counts, and counting together: places, those who are gone, folders."""

import asyncio
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import infra.log.committer
import infra.running.metrics
import infra.running.places
from api.graphql.schema import schema
from api.telemetry import Requests
from domain.errors import Rejected
from infra.log.batch import Appended, Batch, Conflict
from infra.log.committer import Committer
from infra.log.core import Core
from infra.log.deciding import BatchDecider
from infra.log.log import Log
from infra.postgres.connections import Unavailable
from infra.running.metrics import FILES, RESERVED_BYTES, Metrics, share
from infra.running.places import FOLDER, shared_folder
from tests.city import booking, hospital, key, open_agenda
from tests.conftest import Clock
from tests.infra.running.counting import look, sampled, told, work
from tests.towns import Town


@pytest.mark.anyio
async def test_each_command_is_counted_once_by_its_outcome(core: Core) -> None:
    await open_agenda(core)  # a hospital and its agenda
    wanted = [core.committer.submit(booking(1, f"patient {n}"), key(f"b{n}")) for n in range(5)]
    answers = await asyncio.gather(*wanted, return_exceptions=True)
    winner = next(n for n, answer in enumerate(answers) if not isinstance(answer, Rejected))
    await core.committer.submit(booking(1, f"patient {winner}"), key(f"b{winner}"))
    with pytest.raises(Rejected, match="reused"):
        await core.committer.submit(booking(2, f"patient {winner}"), key(f"b{winner}"))
    found = told(core.committer.metrics)
    assert found["igob_commands_total BookAppointment accepted"] == 1
    assert found["igob_commands_total BookAppointment replayed"] == 1
    assert found["igob_commands_total BookAppointment refused"] == 5
    assert found["igob_commands_total RegisterHospital accepted"] == 1
    assert found["igob_commands_total ErasePerson accepted"] == 0  # there from the beginning
    assert found["igob_batch_commands_sum"] >= 9
    assert found["igob_append_retries_total"] == 0
    assert found["igob_append_conflicts_total"] == 0  # a key that is known is none


@pytest.mark.anyio
async def test_conflicts_with_other_processes_are_counted(core: Core, town: Town, clock: Clock) -> None:
    await open_agenda(core)
    await core.committer.submit(booking(1, "ana"), key("a"))
    log = Log(town.application, schema=town.schema, secret=town.secret)
    other = Committer(log, secret=town.secret, queue_max=10, clock=clock)
    await log.open()
    other.start()
    await other.submit(booking(2, "luis"), key("b"))
    await core.committer.submit(booking(3, "eva"), key("c"))
    await other.stop()
    await log.close()
    assert told(core.committer.metrics)["igob_append_conflicts_total"] == 1
    assert told(other.metrics)["igob_append_conflicts_total"] == 0


@pytest.mark.anyio
async def test_unanswered_batches_are_counted(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(self: Log, batch: Batch) -> Appended | Conflict:
        raise Unavailable("no")

    monkeypatch.setattr(Log, "append", silent)
    monkeypatch.setattr(infra.log.committer, "SETTLE_FOR_S", 0.1)
    monkeypatch.setattr(infra.log.committer, "SETTLE_PAUSE_S", 0.2)
    with pytest.raises(Rejected, match="unavailable"):
        await core.committer.submit(hospital("la-paz"), key("1"))
    found = told(core.committer.metrics)
    assert found["igob_append_retries_total"] == 3  # at first, then until it gives up
    assert found["igob_commands_total RegisterHospital unavailable"] == 1


@pytest.mark.anyio
async def test_failed_and_overloaded_commands_are_counted(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchDecider, "_decide", None)
    with pytest.raises(TypeError):
        await core.committer.submit(hospital("la-paz"), key("1"))
    monkeypatch.undo()
    core.committer.queue_max = 0
    with pytest.raises(Rejected, match="overloaded"):
        await core.committer.submit(hospital("la-paz"), key("2"))
    core.committer.queue_max = 10
    await core.committer.submit(hospital("la-paz"), key("3"))
    found = told(core.committer.metrics)
    counted = {
        outcome: found[f"igob_commands_total RegisterHospital {outcome}"]
        for outcome in infra.running.metrics.COMMAND_OUTCOMES
    }
    assert counted == {"accepted": 1, "replayed": 0, "refused": 0, "unavailable": 0, "overloaded": 1, "failed": 1}


@pytest.mark.anyio
async def test_waiting_commands_and_the_longest_wait_are_measured(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    append, go_on = Log.append, asyncio.Event()

    async def slow(self: Log, batch: Batch) -> Appended | Conflict:
        await go_on.wait()
        return await append(self, batch)

    monkeypatch.setattr(Log, "append", slow)
    committer = core.committer
    assert (committer.waiting_commands, committer.oldest_wait_s) == (0, 0)
    waiting = [asyncio.ensure_future(committer.submit(hospital(f"h-{n}"), key(f"{n}"))) for n in range(3)]
    await asyncio.sleep(0.1)
    assert committer.waiting_commands == 3
    assert 0.05 < committer.oldest_wait_s < 60
    go_on.set()
    await asyncio.gather(*waiting)
    assert (committer.waiting_commands, committer.oldest_wait_s) == (0, 0)


# Counting together. A process can join one folder in its life, so these are processes of their own.


class Workers:
    """Processes that count in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spawn = multiprocessing.get_context("spawn")
        self._running: list[tuple[multiprocessing.process.BaseProcess, multiprocessing.synchronize.Event]] = []

    def start(self, connections: int | None) -> None:
        ready, end = self._spawn.Event(), self._spawn.Event()
        process = self._spawn.Process(target=work, args=(connections, ready, end))
        process.start()
        self._running.append((process, end))
        assert ready.wait(60)

    def end_first(self) -> None:
        process, end = self._running.pop(0)
        end.set()
        process.join(60)
        process.close()

    def end(self) -> None:
        while self._running:
            self.end_first()

    def told(self) -> dict[str, float]:
        answers = self._spawn.SimpleQueue()
        process = self._spawn.Process(target=look, args=(self._folder, answers))
        process.start()
        found: dict[str, float] = answers.get()
        process.join(60)
        process.close()
        answers.close()
        return found


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    workers = Workers(tmp_path)
    yield workers
    workers.end()


def test_workers_share_counts_that_survive_a_restart(workers: Workers, tmp_path: Path) -> None:
    for connections in (3, 5):
        workers.start(connections)
    bookings, names = (
        "igob_commands_total BookAppointment accepted",
        ("igob_connections", "igob_documents", "igob_workers"),
    )
    found = workers.told()
    assert (found[bookings], *(found[name] for name in names)) == (2, 8, 5, 2)
    workers.end_first()
    found = workers.told()
    assert (found[bookings], *(found[name] for name in names)) == (2, 5, 5, 1)
    workers.start(1)
    found = workers.told()
    assert (found[bookings], *(found[name] for name in names)) == (3, 6, 5, 2)
    workers.end_first()
    workers.start(None)  # it takes over the numbers, not the connections
    found = workers.told()
    assert (found[bookings], *(found[name] for name in names)) == (4, 1, 1, 2)
    # However often one is replaced: two workers, two places.
    assert sorted(path.name for path in tmp_path.glob("counter_*")) == ["counter_0.db", "counter_1.db"]


def fill(answers: "multiprocessing.SimpleQueue[dict[str, int]]") -> None:
    shared = share()
    assert shared
    metrics = Metrics(shared)
    Requests(metrics).prepare(schema._schema)
    metrics.sample(sampled(1))
    sizes = {name: (shared.folder / f"{name}_{shared.place}.db").stat().st_size for name in FILES}
    extra = [path.name for path in shared.folder.glob("*.db") if path.stem.rpartition("_")[0] not in FILES]
    answers.put(sizes | dict.fromkeys(extra, 0))


def test_the_counter_files_have_room_for_all_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.SimpleQueue()
    process = spawn.Process(target=fill, args=(answers,))
    process.start()
    assert answers.get() == dict.fromkeys(FILES, RESERVED_BYTES)
    process.join(60)
    process.close()
    answers.close()


def test_without_a_folder_a_process_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    assert share() is None
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(FOLDER, str(tmp_path / "gone"))
    assert share() is None
    assert "counts for itself" in capsys.readouterr().err
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr(infra.running.metrics, "WORKERS_MAX", 0)
    assert share() is None
    metrics = Metrics()
    metrics.conflicts.inc()
    assert told(metrics)["igob_append_conflicts_total"] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_removed_with_its_server_or_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr(infra.running.places, "SHARED_MEMORY", tmp_path)
    abandoned = tmp_path / "igob-metrics-of-a-killed-one"
    abandoned.mkdir()
    (abandoned / "server").touch()
    foreign = tmp_path / "something-else"
    foreign.mkdir()
    with shared_folder():
        first = Path(os.environ[FOLDER])
        assert first.parent == tmp_path
        assert not abandoned.exists()
        with shared_folder():  # another server's on this machine
            assert Path(os.environ[FOLDER]) != first
            assert first.exists()
    assert list(tmp_path.iterdir()) == [foreign]
    assert FOLDER not in os.environ


def test_a_server_runs_without_a_metrics_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr(infra.running.places, "SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none either"))
    with shared_folder():
        assert FOLDER not in os.environ
    assert "each for itself" in capsys.readouterr().err
