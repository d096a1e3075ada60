"""The program's own log: what failed and where, never what was said."""

import json
import sys

import pytest

from domain.decider import Event
from infra.log.codec import Codec
from infra.log.core import Core
from infra.log.deciding import BatchDecider
from infra.running.logging import log_failure
from tests.city import hospital, key, person
from tests.infra.log.test_log import PERSONAL


def test_an_error_is_logged_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("Ana Mamani 4820193")
    except ValueError as error:
        log_failure("it broke", error, commands=3)
    output = capsys.readouterr().err
    assert "Mamani" not in output
    line = json.loads(output)
    assert (line["event"], line["error"], line["commands"]) == ("it broke", "builtins.ValueError", 3)
    assert "test_logging.py" in line["frames"][-1]


def test_logging_to_a_closed_stream_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def write(self, text: str) -> None:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    log_failure("it broke", ValueError())


@pytest.mark.anyio
async def test_a_failed_registration_logs_no_personal_data(
    core: Core, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def encode(self: Codec, event: Event, key: bytes | None = None) -> bytes:
        raise UnicodeEncodeError("utf-8", f"{event}", 0, 1, "no")

    monkeypatch.setattr(Codec, "encode", encode)
    with pytest.raises(UnicodeEncodeError):
        await core.committer.submit(person("Ana", core), key("p"))
    output = "".join(capsys.readouterr())
    assert "a command failed" in output
    assert not [word for word in PERSONAL if word in output]


@pytest.mark.anyio
async def test_the_committer_continues_after_an_unexpected_error(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(self: BatchDecider, draft: object) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(BatchDecider, "remember", stumble)
    with pytest.raises(Exception, match="unavailable"):
        await core.committer.submit(hospital("la-paz"), key("1"))
    assert core.committer.alive
    again = await core.committer.submit(hospital("la-paz"), key("1"))
    assert again.replayed
