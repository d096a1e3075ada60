"""Expected waits in the schema."""

import strawberry

from domain.queues.wait import Wait


@strawberry.type(description="From so many seconds to so many, from now.")
class WaitInterval:
    from_seconds: int = strawberry.field(description="Rarely sooner.")
    to_seconds: int = strawberry.field(description="Rarely later.")


@strawberry.type(
    description="How long it will take until a turn is called, by what this service was like: an interval with a known"
    " reliability. It is wide where little is known, and made anew with each change in the line."
)
class ExpectedWait:
    middle_seconds: int = strawberry.field(description="As often sooner as later.")
    half: WaitInterval = strawberry.field(description="One of two turns is called in it.")
    most: WaitInterval = strawberry.field(description="Nine of ten turns are called in it.")


def expected_wait(wait: Wait | None) -> ExpectedWait | None:
    if wait is None:
        return None
    return ExpectedWait(
        middle_seconds=wait.middle_s,
        half=WaitInterval(from_seconds=wait.low_50_s, to_seconds=wait.high_50_s),
        most=WaitInterval(from_seconds=wait.low_90_s, to_seconds=wait.high_90_s),
    )
