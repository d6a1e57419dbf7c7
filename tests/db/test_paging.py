"""Pages of a list: a walk by cursor meets each row once, whatever is added or deleted meanwhile."""

import base64
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

import db.paging
from core.clock import utc_now
from core.errors import InvalidInput
from core.ids import new_id
from db.models.messaging import WebhookEvent
from db.paging import Order, Paging, Rows, fetch_page
from db.unit_of_work import Database
from tests.support.databases import opened
from tests.support.servers import DatabaseUrls

NEWEST_FIRST = Order(WebhookEvent.created_at, WebhookEvent.id)
OLDEST_FIRST = Order(WebhookEvent.created_at, WebhookEvent.id, descending=False)
START = utc_now()


@pytest.fixture
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    async with opened(database_urls) as database:
        yield database


async def add(database: Database, seconds: Sequence[int]) -> list[UUID]:
    """Events, so many seconds after the start."""
    events = [
        {
            "id": new_id(),
            "event_type": "invoice.paid",
            "source": "stripe",
            "source_event_id": new_id().hex,
            "payload": {},
            "processed": False,
            "created_at": START + timedelta(seconds=after),
        }
        for after in seconds
    ]
    if events:
        async with database.as_system() as tx:
            await tx.session.execute(insert(WebhookEvent), events)
    return [event["id"] for event in events]  # type: ignore[misc]  # as made above


async def remove(database: Database, *ids: UUID) -> None:
    async with database.as_system() as tx:
        await tx.session.execute(delete(WebhookEvent).where(WebhookEvent.id.in_(ids)))


async def page(database: Database, paging: Paging, order: Order = NEWEST_FIRST) -> Rows:
    async with database.as_system() as tx:
        return await fetch_page(tx.session, select(WebhookEvent), order, paging)


def ids(found: Rows) -> list[UUID]:
    return [row[0].id for row in found.rows]


async def walk(database: Database, order: Order, limit: int = 3) -> list[UUID]:
    seen, cursor = [], None
    while True:
        found = await page(database, Paging("events", limit, cursor=cursor), order)
        seen += ids(found)
        if (cursor := found.next_cursor) is None:
            return seen


@pytest.mark.parametrize("order", [NEWEST_FIRST, OLDEST_FIRST])
@pytest.mark.parametrize("number", [0, 1, 3, 6, 7])
async def test_a_walk_meets_every_row_once_and_then_ends(database: Database, order: Order, number: int) -> None:
    """Most of them have one instant, as rows of one transaction do."""
    made = await add(database, [0] * (number - number // 3) + [1] * (number // 3))
    walked = await walk(database, order)
    assert (sorted(walked), len(set(walked))) == (sorted(made), number)
    whole = await page(database, Paging("events", 100), order)
    assert (walked, whole.next_cursor, whole.total) == (ids(whole), None, number)


async def test_rows_that_come_and_go_shift_no_page(database: Database) -> None:
    old = await add(database, range(12))
    first = await page(database, Paging("events", 4))
    assert ids(first) == old[:7:-1]
    new = await add(database, [100, 101, 102, 7])  # the last one is older than what was shown
    await remove(database, old[10], old[8], old[6])  # two that were shown, the very last of them too, and one to come
    second = await page(database, Paging("events", 4, cursor=first.next_cursor))
    third = await page(database, Paging("events", 4, cursor=second.next_cursor))
    rest = ids(second) + ids(third)
    assert rest == [new[3], old[7], old[5], old[4], old[3], old[2], old[1], old[0]]
    assert third.next_cursor is None
    assert second.total == 13


async def test_who_walks_towards_the_newest_meets_those_that_came_meanwhile(database: Database) -> None:
    old = await add(database, range(4))
    first = await page(database, Paging("events", 3), OLDEST_FIRST)
    new = await add(database, [50, 51])
    second = await page(database, Paging("events", 3, cursor=first.next_cursor), OLDEST_FIRST)
    assert ids(first) + ids(second) == old + new


async def test_offset_and_total_stay_as_they_were(database: Database) -> None:
    made = await add(database, range(5))
    found = await page(database, Paging("events", 2, offset=2))
    assert (ids(found), found.total) == ([made[2], made[1]], 5)
    assert msgspec.to_builtins(found.page([])) == {
        "items": [],
        "total": 5,
        "limit": 2,
        "offset": 2,
        "next_cursor": found.next_cursor,
    }


@pytest.fixture
async def cursor(database: Database) -> str:
    await add(database, range(3))
    given_out = (await page(database, Paging("events", 1))).next_cursor
    assert given_out is not None
    return given_out


SPOILT: dict[str, Callable[[str], str]] = {
    "cut": lambda it: it[:-1],
    "longer": lambda it: it + "A",
    "padded": lambda it: it + "==",
    "changed": lambda it: it[:20] + ("A" if it[20] != "A" else "B") + it[21:],
    "doubled": lambda it: it + it,
}
NONSENSE = ("", "20", "a cursor, please", "\N{FULLWIDTH LATIN SMALL LETTER C}ursor\x00")


@pytest.mark.parametrize("how", SPOILT)
async def test_a_spoilt_cursor_is_refused_in_words(database: Database, cursor: str, how: str) -> None:
    with pytest.raises(InvalidInput, match="is no cursor of this API: send a next_cursor as it came") as refused:
        await page(database, Paging("events", 1, cursor=SPOILT[how](cursor)))
    assert [error.field for error in refused.value.errors] == ["cursor"]


@pytest.mark.parametrize("text", NONSENSE)
async def test_what_is_no_cursor_is_refused(database: Database, text: str) -> None:
    with pytest.raises(InvalidInput, match="is no cursor of this API"):
        await page(database, Paging("events", 1, cursor=text))


async def test_another_lists_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="belongs to another list or to other filters"):
        await page(database, Paging("events of yesterday", 1, cursor=cursor))


def forged(content: bytes) -> str:
    """With a checksum that is right: anybody can read here how it is made."""
    content = db.paging._digest(b"events") + content
    return base64.urlsafe_b64encode(db.paging._digest(content) + content).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b'["2026-03-10T00:00:00Z"]',
        b'["2026-03-10T00:00:00","0198d2f0-0000-7000-8000-000000000001"]',
        b'["0001-01-01T00:00:00+14:00","0198d2f0-0000-7000-8000-000000000001"]',
        b'["9999-12-31T23:59:59-14:00","0198d2f0-0000-7000-8000-000000000001"]',
        b'["2026-03-10T00:00:00Z","x"]',
        b'["2026-03-10T00:00:00Z","0198d2f0-0000-7000-8000-000000000001",1]',
        b"[" * 5000,
    ],
)
async def test_a_forged_place_is_no_crash(database: Database, content: bytes) -> None:
    with pytest.raises(InvalidInput, match="is no cursor of this API"):
        await page(database, Paging("events", 1, cursor=forged(content)))


async def test_a_forged_cursor_names_a_place_and_nothing_else(database: Database) -> None:
    made = await add(database, range(3))
    place = msgspec.json.encode([START + timedelta(seconds=1, milliseconds=500), new_id()])
    assert ids(await page(database, Paging("events", 5, cursor=forged(place)))) == [made[1], made[0]]


def test_no_cursor_is_longer_than_a_request_may_send() -> None:
    """Differences of Redis are ordered by a key's name too, which is cut at 200 characters."""
    place = [START, "api_key", "unknown", "\x01" * 200, new_id()]
    assert len(db.paging.cursor_behind(Paging("events"), place)) < db.paging.LONGEST_CURSOR


@given(place=st.tuples(st.datetimes(timezones=st.just(START.tzinfo)), st.uuids()), name=st.text())
def test_a_cursor_holds_what_was_put_into_it(place: tuple[Any, ...], name: str) -> None:
    paging = Paging(name)
    text = db.paging.cursor_behind(paging, place)
    assert db.paging.place_of(paging._replace(cursor=text), NEWEST_FIRST) == list(place)
