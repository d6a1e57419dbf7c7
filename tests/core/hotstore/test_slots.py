"""Cluster slots, checked against values of the specification."""

import pytest

from core.hotstore import keys
from core.hotstore.slots import (
    BUCKET_OF_SLOT,
    BUCKET_SLOTS,
    SLOTS,
    Address,
    Redirection,
    owners_of,
    redirection,
    slot_of,
)

A, B = Address("10.0.0.1", 7000), Address("10.0.0.2", 7001)


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 0x31C3),  # the specification's own example
        ("{user1000}.following", slot_of("{user1000}.followers")),
        ("foo{}{bar}", slot_of("foo{}{bar}")),
        ("foo{{bar}}zap", slot_of("{bar")),
        ("foo{bar}{zap}", slot_of("bar")),
    ],
)
def test_a_key_has_the_slot_of_what_stands_in_its_first_braces(key: str, slot: int) -> None:
    assert slot_of(key) == slot


def test_empty_braces_are_no_tag() -> None:
    assert slot_of("foo{}{bar}") != slot_of("bar")


def test_all_that_belongs_to_a_bucket_lies_in_its_slot_and_no_two_share_one() -> None:
    assert len(BUCKET_OF_SLOT) == keys.BUCKETS
    for bucket in range(keys.BUCKETS):
        h = f"{bucket:02x}" * keys.HASH_BYTES
        names = (keys.document(h), keys.usage(h), keys.holds(h), keys.hold_ends(h), keys.lease(h), keys.mark(bucket))
        assert {slot_of(name) for name in names} == {BUCKET_SLOTS[bucket]}


def test_the_map_names_the_primary_of_each_slot() -> None:
    middle = SLOTS // 2
    answer = [
        [0, middle - 1, [b"10.0.0.1", 7000, b"id-a", []], [b"10.0.0.9", 7009, b"replica", []]],
        [middle, SLOTS - 1, ["10.0.0.2", 7001, "id-b", {}]],
    ]
    owners = owners_of(answer, A)
    assert owners.keys() == {*BUCKET_SLOTS, slot_of(keys.SYNC), slot_of(keys.JWKS)}
    for slot, owner in owners.items():
        assert owner == (A if slot < middle else B)


def test_a_slot_without_a_node_has_no_owner() -> None:
    assert owners_of([[0, 0, [b"10.0.0.1", 7000]]], A) == {}


@pytest.mark.parametrize("nameless", [b"", None, ""])
def test_a_node_without_a_name_is_the_one_that_was_asked(nameless: bytes | str | None) -> None:
    assert set(owners_of([[0, SLOTS - 1, [nameless, 7001]]], A).values()) == {Address(A.host, 7001)}


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        ("MOVED 3999 10.0.0.2:7001", Redirection(3999, B, moved=True)),
        ("ASK 3999 10.0.0.2:7001", Redirection(3999, B, moved=False)),
        ("MOVED 3999 :7001", Redirection(3999, Address("10.0.0.1", 7001), moved=True)),
        ("MOVED 3999 2001:db8::1:7001", Redirection(3999, Address("2001:db8::1", 7001), moved=True)),
        ("CLUSTERDOWN The cluster is down", None),
        ("TRYAGAIN Multiple keys request during rehashing of slot", None),
    ],
)
def test_a_redirection_is_told_from_other_errors(error: str, meant: Redirection | None) -> None:
    assert redirection(error, A) == meant
