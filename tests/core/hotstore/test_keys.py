"""Redis keys: their names and buckets."""

from collections import Counter

import pytest

from core.hotstore import keys

H = "00112233445566778899aabbccddeeff"


def test_the_hash_is_the_first_half_of_the_digest() -> None:
    digest = bytes.fromhex(H) + bytes(16)
    assert keys.short_hash(digest) == keys.short_hash(digest[:16]) == H


def test_half_a_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        keys.short_hash(bytes(15))


def test_all_that_one_question_touches_lies_in_one_slot() -> None:
    names = [keys.document(H), keys.usage(H), keys.holds(H), keys.hold_ends(H), keys.lease(H), keys.mark_of(H)]
    assert {name[name.index("{") : name.index("}") + 1] for name in names} == {"{00}"}
    assert len(set(names)) == len(names)


def test_an_api_key_lies_beside_the_mark_that_bears_it_out() -> None:
    name, mark = keys.api_key("npk_1"), keys.mark(keys.bucket_of_api_key("npk_1"))
    assert name[4:8] == mark[4:8]


def test_api_keys_spread_over_the_buckets() -> None:
    counted = Counter(keys.bucket_of_api_key(f"npk_{number}") for number in range(25_600))
    assert len(counted) == keys.BUCKETS
    assert max(counted.values()) < 200


def test_a_name_is_read_back() -> None:
    h = "ab" + H[2:]
    assert keys.parts(keys.document(h)) == (keys.DOCUMENT_KIND, 0xAB, h)
    assert keys.parts(keys.usage(h)) == (keys.USAGE_KIND, 0xAB, h)
    assert keys.parts(keys.holds(h)) == (keys.HOLDS_KIND, 0xAB, h)
    assert keys.parts(keys.mark_of(h)) == (keys.MARK_KIND, 0xAB, "")
    assert keys.parts(keys.api_key("npk_1")) == (keys.API_KEY_KIND, keys.bucket_of_api_key("npk_1"), "npk_1")
