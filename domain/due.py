"""Work that falls due by time alone: commands that the system itself sends."""

from domain.decider import Command, Value


class Job(Value):
    """A command that is due.

    It is executed once under its `key`, which names what is due, not when it was found.
    """

    command: Command
    key: str
