"""The page with charts: its contents, and that it loads nothing."""

import re
from xml.etree import ElementTree as ET

import msgspec
import pytest

from bench.graphql import Result
from bench.load import Rate
from bench.machine import Machine
from bench.report import Line, decades, page, picture, ticks

PEER = "Post & Graphile <5>"


def rate(per_s: float, wait_ms: float) -> Rate:
    p50, p90, p99, p99_9, worst = (wait_ms * times for times in (1, 2, 5, 10, 20))
    return Rate(per_s, p50, p90, p99, p99_9, worst, {}, {"generator": 1.0, "server": 6.0, "postgresql": 3.0})


def result(*, with_peer: bool) -> Result:
    found = Result(
        measured_at="2026-01-02T03:04:05Z",
        commit="abc",
        machine=Machine("cpu", 2, 8.0, 0.1, "Linux", "3.11", {"fsync": "on"}),
        best_at="2 × 128",
        graphql_bookings_per_s=3_000,
        p50_ms=20,
        p99_ms=100,
        worker_us=180.0,
        errors={"overloaded": 7},
        open=rate(1_500, 3),
        quiet=rate(300, 2),
        rounds={f"{w} × {c}": [rate(w * c, 5), rate(w * c * 3, 7)] for w in (1, 2) for c in (8, 128)},
    )
    if not with_peer:
        return found
    return msgspec.structs.replace(
        found,
        peer=PEER,
        peer_best_at="1 × 64",
        peer_bookings_per_s=4_000,
        peer_errors={},
        peer_open=rate(1_500, 6),
        peer_quiet=rate(300, 4),
        peer_rounds={"1 × 64": [rate(4_000, 8)]},
        ratio_to_peer=0.75,
    )


def pictures(html: str) -> list[ET.Element]:
    return [ET.fromstring(one) for one in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]  # noqa: S314 (our own page)


def test_the_page_shows_each_contender_and_loads_nothing() -> None:
    html = page(result(with_peer=True))
    assert re.findall(r"(?:src|href|url\(|@import|https?:|<script|<link)", html) == []
    assert "Post &amp; Graphile &lt;5&gt;" in html
    assert PEER not in html
    assert "Ratio 0.75." in html
    assert "<td>overloaded</td><td>7</td>" in html
    # Eight rates of ours, a tenth of whose CPU seconds the clients took.
    assert "<td>igob</td><td>8.0 s</td><td>48.0 s</td><td>24.0 s</td><td>10%</td>" in html
    rates, waits, unhurried = pictures(html)
    assert [len(one.findall("polyline")) for one in (rates, waits, unhurried)] == [3, 6, 4]
    assert [text.text for text in rates.findall("text") if text.text in {"8", "64", "128"}] == ["8", "64", "128"]


def test_without_a_peer_there_is_none() -> None:
    html = page(result(with_peer=False))
    assert "Ratio" not in html
    assert [len(one.findall("polyline")) for one in pictures(html)] == [2, 4, 2]


def test_medians_are_drawn_at_their_places() -> None:
    rates = pictures(page(result(with_peer=False)))[0]
    texts = [title.text for title in rates.iter("title")]
    assert texts == [
        "igob, 1 process: 16",
        "igob, 1 process: 256",
        "igob, 2 processes: 32",
        "igob, 2 processes: 512",
    ]
    heights = [float(circle.attrib["cy"]) for circle in rates.iter("circle")]
    assert sorted(heights, reverse=True) == [heights[0], heights[2], heights[1], heights[3]]


@pytest.mark.parametrize("tenfold", [False, True])
@pytest.mark.parametrize("values", [[0.004, 3_000.0], [0.0, 0.0], [1.0, 1.0], [999.0, 1_000.0]])
def test_every_value_is_within_the_chart(values: list[float], tenfold: bool) -> None:
    lines = [Line("a", {"x": values[0], "y": values[1]})]
    drawn = ET.fromstring(picture(lines, ["x", "y"], x="x", y="y", tenfold=tenfold))  # noqa: S314
    heights = [float(circle.attrib["cy"]) for circle in drawn.iter("circle")]
    assert len(heights) == 2
    assert all(20 <= height <= 280 for height in heights)


def test_ticks_are_round_and_few() -> None:
    assert ticks(2_428) == [0, 500, 1_000, 1_500, 2_000, 2_500]
    assert ticks(100) == [0, 20, 40, 60, 80, 100]
    assert ticks(101)[-1] >= 101
    assert decades(3, 450) == [1, 10, 100, 1_000]
    assert decades(10, 10) == [10, 100]
