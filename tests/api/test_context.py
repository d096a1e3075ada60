"""What contexts keep for the life of the process."""

from collections.abc import Callable
from datetime import datetime

import pytest

from api.graphql.context import ProcessService, Services
from infra.log.core import Core

pytestmark = pytest.mark.anyio


class Kept(ProcessService):
    def __init__(self, core: Core, now: Callable[[], datetime]) -> None:
        super().__init__(core, now)
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


class Other(ProcessService):
    """It has nothing to stop."""


async def test_a_context_has_one_object_of_a_class_which_ends_with_the_process(services: Services) -> None:
    kept = services.of(Kept)
    assert services.of(Kept) is kept
    assert type(services.of(Other)) is Other
    await services.stop()
    assert kept.stopped
