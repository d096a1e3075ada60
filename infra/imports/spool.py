"""Checked commands on disk, until all of a file are checked: those of a large file would take too much memory."""

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec

from domain.decider import Command
from infra.imports.table import Row


class Spool:
    """Commands of one type with the lines of their rows, in order. The file has no name, and ends with the process."""

    def __init__(self) -> None:
        self.count = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._encode = msgspec.json.Encoder().encode
        self._type: type[Command] = Command

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, line: int, command: Command) -> None:
        self.count += 1
        self._type = type(command)
        self._file.write(b"%d %b\n" % (line, self._encode(command)))  # JSON has no line breaks

    def rows(self) -> Iterator[Row[Command]]:
        decode = msgspec.json.Decoder(self._type).decode
        self._file.seek(0)
        for text in self._file:
            line, _, command = text.partition(b" ")
            yield Row(int(line), decode(command))
