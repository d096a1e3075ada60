"""Settings of Python's garbage collector for processes that keep many objects."""

import gc

# Remembered states, and rows of read models, are many, live long and form no cycles: at its default pace the collector
# walks through all of them again and again, for a third of a booking's time.
THRESHOLDS = (50_000, 20, 100)


def collect_seldom() -> None:
    gc.set_threshold(*THRESHOLDS)
