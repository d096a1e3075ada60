"""Expected waits in the schema."""

import strawberry

from domain.queues.wait import Wait


@strawberry.type(description="An interval in seconds from now.")
class WaitInterval:
    from_seconds: int = strawberry.field(description="The lower bound.")
    to_seconds: int = strawberry.field(description="The upper bound.")


@strawberry.type(
    description="The expected time until a turn is called, learned from past waits for this service. The intervals are"
    " wide while little is known. They are computed again with each change in the line."
)
class ExpectedWait:
    middle_seconds: int = strawberry.field(description="The median: a call is as likely to be earlier as later.")
    half: WaitInterval = strawberry.field(description="One in two turns is called within this interval.")
    most: WaitInterval = strawberry.field(description="Nine in ten turns are called within this interval.")


def expected_wait(wait: Wait | None) -> ExpectedWait | None:
    if wait is None:
        return None
    return ExpectedWait(
        middle_seconds=wait.middle_s,
        half=WaitInterval(from_seconds=wait.low_50_s, to_seconds=wait.high_50_s),
        most=WaitInterval(from_seconds=wait.low_90_s, to_seconds=wait.high_90_s),
    )
