"""The number of examples of property tests: few in each run, many with `make test-all`."""

import os

TIMES = int(os.environ.get("IGOB_TEST_EXAMPLES_TIMES", "1"))


def examples(number: int) -> int:
    """This number with `make test`."""
    return number * TIMES
