"""Settings of Python's garbage collector for processes that keep many objects."""

import gc

# Cached states and rows of read models are many, live long and form no cycles. At its default pace the garbage
# collector traverses all of them again and again, which takes a third of a booking's time.
THRESHOLDS = (50_000, 20, 100)


def collect_seldom() -> None:
    gc.set_threshold(*THRESHOLDS)
