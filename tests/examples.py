"""How many examples a property is tried with: few each time, many by `make test-all`."""

import os

TIMES = int(os.environ.get("IGOB_TEST_EXAMPLES_TIMES", "1"))


def examples(number: int) -> int:
    """So many by `make test`."""
    return number * TIMES
