"""Caches that are bounded by bytes: what they say they take is what they take."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.hotstore.snapshot import encode_snapshot
from core.licensing import key as license_key
from core.licensing.record import Usage
from tests.support.servers import ROOT
from tests.validator.stage import SECRETS, a_record
from validator.calls.questions import Questions
from validator.redis.eras import Eras
from validator.redis.link import RedisLink
from validator.store.hashes import LicenseHashes
from validator.store.near_cache import MOST_GIVEN, NEVER, CachedVerdict, CachedVerdicts, NearCache
from validator.store.shares import Shares
from validator.store.sized_cache import SizedCache

_MOST = 1_000_000
_MANY = 6_000
"""More than fit."""
_KEYS = [license_key.generate(SECRETS.license_checksum_key) for _ in range(_MANY)]
_ROOMS = ("core", "validator", "tests/validator")
"""Whose objects are counted: the tools that run and measure a test make some, too."""
_TEXT = b'{"valid":true,"remaining_quota":43,"code":"VALID","as_of":'


def _ones(_key: int, value: int) -> int:
    return value


class Filled:
    def __init__(self, held: SizedCache[Any, Any], owner: object) -> None:
        self.held = held
        self.owner = owner


def _licenses() -> Filled:
    """Each with two verdicts, one of them shared by all, and every tenth changed since."""
    cache = NearCache(Eras(RedisLink("redis://", [], lambda _: None)), _MOST)
    shared = CachedVerdict("create_database", _TEXT, 10)
    for number in range(_MANY):
        h = f"{number:032x}"
        entry = cache.put(h, encode_snapshot(a_record(), Usage({"databases": 7})), NEVER, known=True)
        cache.keep(h, entry, shared, 1_800_000_000.0 + number)
        own = CachedVerdict(f"feature-{number}", b"%b%d" % (_TEXT, number), 10, own_bytes=48 + 64 + 112)
        cache.keep(h, entry, own, entry.until)
        if not number % 10:
            cache.changed(h, replaced=True)
    return Filled(cache.held, cache)


def _questions() -> Filled:
    hashes = LicenseHashes(SECRETS.index, SECRETS.license_checksum_key, 1)
    questions = Questions(hashes, _MOST)
    for key in _KEYS:
        questions.of(f'{{"license_key":"{key}","feature":"create_database"}}'.encode())
    return Filled(questions.held, questions)


def _hashes() -> Filled:
    hashes = LicenseHashes(SECRETS.index, SECRETS.license_checksum_key, _MOST)
    for key in _KEYS:
        hashes.find(key.lower())  # as a text of its own
    return Filled(hashes.held, hashes)


@pytest.mark.parametrize("fill", [_licenses, _questions, _hashes])
async def test_the_bound_is_true_to_the_byte_that_python_takes(fill: Callable[[], Filled]) -> None:
    """The trace counts what objects asked for; the allocator's blocks of 16 bytes are counted by us alone."""
    fill()  # what is made once by the first call
    gc.collect()
    tracemalloc.start()
    try:
        filled = fill()
        gc.collect()
        ours = [tracemalloc.Filter(inclusive=True, filename_pattern=f"{ROOT}/{room}/*") for room in _ROOMS]
        traces = tracemalloc.take_snapshot().filter_traces(ours).statistics("filename")
    finally:
        tracemalloc.stop()
    used = sum(trace.size for trace in traces)
    assert filled.held.evicted > 0
    assert filled.held.taken <= _MOST
    assert 0.8 * filled.held.taken < used < 1.05 * filled.held.taken


async def test_what_is_removed_leaves_nothing_in_the_sum() -> None:
    cache = NearCache(Eras(RedisLink("redis://", [], lambda _: None)), _MOST)
    packed = encode_snapshot(a_record(), Usage())
    entry = cache.put("00aa", packed, NEVER, known=True)
    for number in range(2 * MOST_GIVEN):
        cache.keep("00aa", entry, CachedVerdict(f"{number}", _TEXT, 1, own_bytes=100), 1_900_000_000.0)
    cache.changed("00aa", used=True)
    cache.changed("00aa", replaced=True)
    cache.put("00aa", packed, 5.0, known=True)
    cache.keep("00aa", entry, CachedVerdict("late", _TEXT, 1, own_bytes=100), 1_900_000_000.0)  # it has left
    cache.held.pop("00aa")
    cache.held.put("00aa", entry)
    cache.held.pop("00aa")
    tables = SizedCache[str, int](10_000, lambda _key, size: size)
    tables.put("00aa", 0)
    assert cache.held.taken == tables.taken, "one table with room for a few"


def test_verdicts_from_before_a_date_are_let_go_when_one_is_made_after_it() -> None:
    given = CachedVerdicts()
    given.keep(CachedVerdict("a", _TEXT, 1), until=100.0)
    given.keep(CachedVerdict("b", _TEXT, 1), until=100.0)
    assert [given.of(feature, 99.9) is not None for feature in "ab"] == [True, True]
    assert [given.of(feature, 100.0) for feature in "ab"] == [None, None]
    given.keep(CachedVerdict("a", _TEXT, 2), until=200.0)
    assert given.of("a", 150.0) == CachedVerdict("a", _TEXT, 2)
    assert given.of("b", 150.0) is None


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 400)), max_size=300), st.integers(1, 20_000))
def test_it_never_takes_more_than_it_may(puts: list[tuple[int, int]], most: int) -> None:
    """`taken` is what its keys, values and tables take, whatever is put, replaced and pushed out."""
    cache = SizedCache[int, int](most, _ones)
    last: dict[int, int] = {}
    for key, size in puts:
        cache.put(key << 20, size)  # each in a dictionary of its own
        last[key] = size
        assert cache.taken <= most
        found = [size for size in (cache.get(each << 20) for each in last) if size is not None]
        assert len(found) == len(cache)
        assert sum(found) <= cache.taken


def test_the_oldest_go_first_and_few_at_a_time() -> None:
    cache = SizedCache[int, int](80_000, _ones)
    number = 0
    while not cache.evicted:
        cache.put(number, 64)
        number += 1
    before = cache.evicted
    assert before <= 64
    assert cache.let_go
    assert cache.get(0) is None
    assert cache.get(number - 1) == 64
    while cache.evicted == before:
        cache.put(number, 64)
        number += 1
    assert cache.evicted - before <= 64


def test_the_shares_are_all_there_is() -> None:
    shares = Shares.of(256_000_000)
    assert sum(shares) == 256_000_000
    assert shares.licenses > shares.questions > shares.api_keys
