"""The cache of states, and what is dropped first."""

from hypothesis import given
from hypothesis import strategies as st

from infra.log.cache import STREAM_BYTES, StateCache
from infra.log.log import Loaded

BOUND_BYTES = 10 * STREAM_BYTES
STREAMS = st.sampled_from([f"agenda/{n}" for n in range(15)])
BYTES = st.integers(0, 2 * STREAM_BYTES)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), STREAMS, BYTES),
        st.tuples(st.just("put sealed"), STREAMS, BYTES),
        st.tuples(st.just("get"), STREAMS, st.just(0)),
        st.tuples(st.just("grew"), STREAMS, BYTES),
        st.tuples(st.just("drop"), STREAMS, st.just(0)),
        st.tuples(st.just("trim"), st.just(""), st.just(0)),
    )
)


def loaded(weight_bytes: int = 0, *, sealed: bool = False) -> Loaded:
    return Loaded(version=1, state=None, weight_bytes=weight_bytes, sealed=sealed)


@given(steps=STEPS)
def test_the_cache_never_exceeds_its_limit(steps: list[tuple[str, str, int]]) -> None:
    cache = StateCache(bytes_max=BOUND_BYTES)
    everything: dict[str, Loaded] = {}  # by stream, what was put last, though the cache may have let it go
    for step, stream, weight_bytes in steps:
        match step:
            case "put" | "put sealed":
                everything[stream] = loaded(weight_bytes, sealed=step == "put sealed")
                cache.put(stream, everything[stream])
            case "get":
                assert cache.get(stream) in (None, everything.get(stream))
            case "grew" if stream in everything:
                cache.grew(everything[stream], weight_bytes)
            case "drop":
                cache.drop(stream)
                assert cache.get(stream) is None
            case "trim":
                cache.trim()
                assert cache.weight_bytes <= BOUND_BYTES
    held = [found for stream in everything if (found := cache.get(stream))]
    assert len(cache) == len(held)
    assert cache.weight_bytes == sum(found.weight_bytes + STREAM_BYTES for found in held)
    assert not any(found.sealed for found in held)


def test_reused_states_survive_a_flood_of_single_uses() -> None:
    cache = StateCache(bytes_max=BOUND_BYTES)
    for n in range(5):
        cache.put(f"agenda/{n}", loaded())
        assert cache.get(f"agenda/{n}")
    for n in range(1_000):
        cache.put(f"patient/{n}", loaded())
        cache.trim()
    assert all(cache.get(f"agenda/{n}") for n in range(5))
    assert cache.get("patient/999")
    assert not cache.get("patient/900")


def test_the_least_recently_used_of_reused_states_is_dropped() -> None:
    cache = StateCache(bytes_max=BOUND_BYTES)
    for n in range(11):
        cache.put(f"agenda/{n}", loaded())
        assert cache.get(f"agenda/{n}")
        assert cache.get("agenda/0")
        cache.trim()
    assert [bool(cache.get(f"agenda/{n}")) for n in range(11)] == [True, False, *[True] * 9]


def test_without_reuse_single_uses_have_the_whole_cache() -> None:
    cache = StateCache(bytes_max=BOUND_BYTES)
    for n in range(20):
        cache.put(f"patient/{n}", loaded())
        cache.trim()
    assert len(cache) == 10


def test_a_dropped_stream_adds_no_weight() -> None:
    cache = StateCache()
    first, second = loaded(100), loaded(100)
    cache.put("s", first)
    cache.put("s", second)
    cache.grew(first, 50)
    assert cache.weight_bytes == 100 + STREAM_BYTES
    cache.grew(second, 7)
    cache.get("s")
    cache.grew(second, 7)
    assert cache.weight_bytes == 114 + STREAM_BYTES
    cache.drop("s")
    cache.grew(second, 7)
    assert cache.weight_bytes == 0
