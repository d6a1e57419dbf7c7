"""Hash chain: each link depends on its row, its position, its time, its key and all links before it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crypto.audit_chain import EMPTY, GENESIS, AuditChain, Entry, Head
from core.ids import new_id

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
NOW: Final = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
ROW: Final = Entry(7, NOW, new_id(), "license.suspended", "license", "x", '{"reason": "r"}', "req")
CHAIN: Final = AuditChain({"a1": KEY})
CHANGES: Final[dict[str, Any]] = {
    "id": 8,
    "at": NOW + timedelta(microseconds=1),
    "actor_id": None,
    "action": "license.resumed",
    "target_kind": "user",
    "target_id": "y",
    "detail": "{}",
    "request_id": None,
}


def test_every_field_counts() -> None:
    assert CHANGES.keys() == set(Entry._fields)
    links = {CHAIN.seal(EMPTY, ROW._replace(**{name: value}), NOW) for name, value in CHANGES.items()}
    links.add(CHAIN.seal(EMPTY, ROW, NOW))
    assert len(links) == len(CHANGES) + 1


def test_place_time_key_and_past_count() -> None:
    other = AuditChain({"a1": OTHER})
    renamed = AuditChain({"a2": KEY})
    links = {
        CHAIN.seal(EMPTY, ROW, NOW).seal,
        CHAIN.seal(Head(1, GENESIS), ROW, NOW).seal,
        CHAIN.seal(Head(0, bytes(31) + b"\1"), ROW, NOW).seal,
        CHAIN.seal(EMPTY, ROW, NOW + timedelta(microseconds=1)).seal,
        other.seal(EMPTY, ROW, NOW).seal,
        renamed.seal(EMPTY, ROW, NOW).seal,
    }
    assert len(links) == 6


def test_an_instant_is_the_same_in_every_zone() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert CHAIN.seal(EMPTY, ROW._replace(at=there), there) == CHAIN.seal(EMPTY, ROW, NOW)


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_no_two_rows_read_alike(one: tuple[str, str], other: tuple[str, str]) -> None:
    rows = [ROW._replace(action=action, target_kind=kind) for action, kind in (one, other)]
    seals = {CHAIN.seal(EMPTY, row, NOW).seal for row in rows if _writable(row)}
    assert len(seals) == len({row for row in rows if _writable(row)})


def _writable(row: Entry) -> bool:
    """PostgreSQL stores no lone surrogates."""
    return not any("\ud800" <= symbol <= "\udfff" for symbol in row.action + row.target_kind)


def test_keys_are_rotated_and_old_seals_stay_good() -> None:
    old = CHAIN.seal(EMPTY, ROW, NOW)
    both = AuditChain({"a2": OTHER, "a1": KEY})
    assert both.current == "a2"
    assert both.seal(EMPTY, ROW, NOW, kid="a1") == old
    assert both.seal(EMPTY, ROW, NOW) != old
    assert not CHAIN.knows("a2")
    with pytest.raises(KeyError):
        CHAIN.seal(EMPTY, ROW, NOW, kid="a2")
    with pytest.raises(ValueError, match="32 bytes"):
        AuditChain({"a1": b"short"})


def test_a_head_is_written_and_read() -> None:
    head = CHAIN.seal(EMPTY, ROW, NOW)
    assert Head.read(head.text) == head
    for nonsense in ("", "1", "1:", "x:00", f"-1:{'00' * 32}", f"1:{'00' * 31}", "1:zz"):
        with pytest.raises(ValueError):  # noqa: PT011  whatever int() and fromhex() say
            Head.read(nonsense)
