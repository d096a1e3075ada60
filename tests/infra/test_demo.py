"""The demo city: its people, and how it is completed when its making was cut short."""

import random

import pytest

from infra.core import Core
from infra.demo import PEOPLE, SEED_MAX, people

pytestmark = pytest.mark.anyio


async def test_every_seed_has_people_of_its_own(core: Core) -> None:
    invented = [person for seed in (0, 1, SEED_MAX) for person in people(core, random.Random(seed), seed)]
    assert len({person.identity_digest for person in invented}) == len({person.person for person in invented})
    assert len({person.identity_digest for person in invented}) == 3 * PEOPLE
    for seed in (-1, SEED_MAX + 1):
        with pytest.raises(ValueError, match="0 to 9999"):
            next(people(core, random.Random(seed), seed))
