from typing import get_args

import pytest

from domain.appointments import agenda
from domain.channels import may_use
from domain.queues import turns

CHANNELS = sorted({*get_args(agenda.Channel), *get_args(turns.Channel)})


@pytest.mark.parametrize("channel", CHANNELS)
def test_citizens_use_web_and_clerks_the_other_channels(channel: str) -> None:
    assert may_use("citizen", channel) == (channel == "WEB")
    assert may_use("clerk", channel) == (channel != "WEB")
