"""The result of an import, for people and for programs."""

from abc import ABCMeta, abstractmethod
from collections.abc import Iterator

import msgspec

from infra.imports.problems import Problem

PROBLEMS_KEPT_MAX = 100


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
