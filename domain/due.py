"""What falls due by time alone: commands that the system sends without being asked."""

from domain.decider import Command, Value


class Job(Value):
    """A command whose time has come.

    It is done once under its `key`, which names what is due, not when it was found.
    """

    command: Command
    key: str
