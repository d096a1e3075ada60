"""Child processes by fork, and the parts of `igob serve` that are kept running.

Each test runs a small program, because a process that runs tests has threads and can't fork.
"""

import json
import subprocess
import sys
from typing import Any

from tests.programs import CHECKOUT

BEGIN = """
import fcntl, json, mmap, os, signal, sys, tempfile, threading, time
from infra.running import parts
from infra.running.forking import fork
from infra.running.parts import Part, Parts

def end(child):
    while child.status() is None:
        time.sleep(0.01)
    return child.status()

def raising(error):
    raise error

def ticking(parts, until):
    while not until():
        parts.tick()
        time.sleep(0.01)
"""


def ran(code: str) -> Any:
    """What the program prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_a_child_ends_as_a_program_does() -> None:
    statuses = ran("""
ends = [lambda: None, lambda: sys.exit(), lambda: sys.exit(3), lambda: sys.exit("why"),
        lambda: raising(ValueError()), lambda: raising(KeyboardInterrupt()), lambda: os.kill(os.getpid(), 9)]
print(json.dumps([end(fork("igob-test", run)) for run in ends]))
""")
    assert statuses == [0, 0, 3, 1, 1, 1, -9]


def test_a_child_that_is_told_to_stop_before_it_began_stops() -> None:
    """Its parent's handlers must not get the signal."""
    statuses = ran("""
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
children = [fork("igob-test", lambda: time.sleep(30)) for _ in range(50)]
for child in children:
    child.send(signal.SIGTERM)
print(json.dumps([end(child) for child in children]))
""")
    assert set(statuses) == {-15}


def test_a_child_has_a_session_of_its_own_and_only_what_it_is_to_keep() -> None:
    found = ran("""
reading, writing = os.pipe()
lock = tempfile.TemporaryFile()
fcntl.flock(lock, fcntl.LOCK_EX)

def look():
    session, name = os.getsid(0), open("/proc/self/comm").read().strip()
    os.set_blocking(writing, False)
    def is_open(fd):
        try:
            return bool(os.fstat(fd))
        except OSError:
            return False
    fds = [fd for fd in range(100) if is_open(fd)]
    os.write(writing, json.dumps([session == os.getpid(), name, fds == [0, 1, 2, writing]]).encode())

end(fork("igob-test", look, keep_fds=[writing]))
print(os.read(reading, 100).decode())
""")
    assert found == [True, "igob-test", True]


def test_a_process_with_threads_can_not_fork() -> None:
    refused = ran("""
done = threading.Event()
threading.Thread(target=done.wait).start()
try:
    fork("igob-test", lambda: None)
except RuntimeError as error:
    print(json.dumps(str(error)))
done.set()
""")
    assert refused.startswith("a process with threads can't fork")


def test_a_part_that_dies_is_started_again_but_not_at_any_rate() -> None:
    dies, once, said = ran("""
parts.START_EVERY_S = 0.2
dies, once, said = [], [], []
begun = time.monotonic()
running = Parts([
    Part("dying", lambda: sys.exit(2), failed=lambda: dies.append(time.monotonic() - begun)),
    Part("single", lambda: sys.exit(3), once=True, failed=lambda: once.append(1)),
], said.append)
ticking(running, lambda: len(dies) == 4)
running.stop()
print(json.dumps([dies, once, said]))
""")
    assert dies[3] >= 3 * 0.2
    assert once == [1]
    assert said == ["the dying died; starting it again"] * 4


def test_one_that_is_killed_is_started_again_although_it_is_wanted_once() -> None:
    starts = ran("""
parts.START_EVERY_S = 0.01
starts = mmap.mmap(-1, 1)

def run():
    starts[0] += 1
    if starts[0] == 1:
        os.kill(os.getpid(), signal.SIGKILL)

part = Part("single", run, once=True)
running = Parts([part], lambda _: None)
ticking(running, lambda: part not in running)
print(json.dumps(starts[0]))
""")
    assert starts == 2


def test_all_are_told_to_stop_and_who_does_not_is_killed() -> None:
    statuses, said, took_s = ran("""
parts.STOP_TIMEOUT_S = 0.5
reading, writing = os.pipe()

def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(writing, b"x")
    time.sleep(30)

def waited_for():
    os.write(writing, b"x")
    time.sleep(1.5)

said = []
kept = [Part("deaf", deaf, keep_fds=[writing]), Part("quick", lambda: time.sleep(30)),
        Part("patient", waited_for, keep_fds=[writing], patient=True, once=True)]
running = Parts(kept, said.append)
running.tick()
children = [part.process for part in kept]
os.read(reading, 1), os.read(reading, 1)
begun = time.monotonic()
running.stop()
print(json.dumps([[child.status() for child in children], said, time.monotonic() - begun]))
""")
    assert statuses == [-9, -15, 0]
    assert said == ["the deaf does not stop; killing it"]
    assert took_s > 1
