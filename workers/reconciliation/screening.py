"""Screening by digests: finds the records that may differ between Postgres and Redis, cheaply.

Both sides write one line for each record, `name epoch:version resource=used/epoch:version … lease`, in the order of the
names. A digest of some hundred lines at a time is compared. The last word is there where a lease of this very version
exists; nothing else of the lease is compared here. Postgres makes the lines in one statement for a stride of buckets,
core/hotstore/functions.lua by reading every record at that moment. The last part of a bucket reaches to its end, and a
bucket without a license is one part too. So every name in an index of Redis lies in some part.

A part that differs is read line by line. The names whose lines differ are suspects and no more, because the two sides
were read one after the other, under traffic. workers/reconciliation/repair.py finds out which of them really differ.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, TextClause, text

from core.hotstore import keys
from core.hotstore.comparison import (
    LICENSES,
    LINES_A_CALL,
    Comparison,
    Part,
    RecordKind,
)
from core.licensing.plan import RESOURCES
from core.parts import beat, step
from db.unit_of_work import Database

_MINE: Final = "license_key_hash >= :first AND (CAST(:before AS bytea) IS NULL OR license_key_hash < :before)"

# The totals license by license, over their index: a join would be planned as a sort of all totals for each stride. A
# hash that is too short makes no record (workers/projection/records.py), so there is nothing to compare.
_LICENSE_LINES: Final = f"""
    mine AS (
        SELECT id, version, get_byte(license_key_hash, 0) AS bucket,
            encode(substring(license_key_hash FROM 1 FOR {keys.HASH_BYTES}), 'hex') AS name
        FROM licenses WHERE {_MINE} AND octet_length(license_key_hash) >= {keys.HASH_BYTES}),
    lines AS (
        SELECT bucket, name, name || ' ' || epoch || ':' || version || coalesce((
            SELECT string_agg(' ' || resource || '=' || used || '/' || epoch || ':' || license_usage.version,
                '' ORDER BY resource COLLATE "C")
            FROM license_usage
            WHERE license_id = mine.id AND resource IN ({", ".join(f"'{resource}'" for resource in RESOURCES)})
        ), '') || CASE WHEN EXISTS (
            SELECT FROM leases WHERE license_id = mine.id AND leases.version = mine.version) THEN ' lease' ELSE '' END
            AS line
        FROM mine, projection_epoch)
"""  # noqa: S608  put together from constants
_API_KEY_LINES: Final = """
    mine AS (
        SELECT np_api_key_bucket(key_id) AS bucket, key_id AS name, version FROM api_keys
        WHERE np_api_key_bucket(key_id) >= :first
            AND np_api_key_bucket(key_id) < :before),
    lines AS (SELECT bucket, name, name || ' ' || epoch || ':' || version AS line FROM mine, projection_epoch)
"""


def _pages(lines: str) -> TextClause:
    return text(
        f"""
        WITH {lines},
        placed AS (
            SELECT *, (row_number() OVER (PARTITION BY bucket ORDER BY name COLLATE "C") - 1) / :page AS page
            FROM lines)
        SELECT bucket, count(*) AS size, max(name COLLATE "C") AS last,
            string_agg(line, E'\\n' ORDER BY name COLLATE "C") AS text
        FROM placed GROUP BY bucket, page ORDER BY bucket, page
        """  # noqa: S608  put together from constants
    )


_LICENSE_PAGES: Final = _pages(_LICENSE_LINES)
_API_KEY_PAGES: Final = _pages(_API_KEY_LINES)


class Screened(NamedTuple):
    """A stride: how many records Postgres has there, and the names of those whose lines differ."""

    size: int
    suspects: Sequence[str]


class Screening:
    def __init__(
        self, database: Database, comparison: Comparison, *, page: int = LINES_A_CALL, at_once: int = 1
    ) -> None:
        """`at_once`: digests in one pipeline. Each blocks Redis, and so every other client, for 0.7 ms."""
        self._database = database
        self._comparison = comparison
        self._page = page
        self._at_once = at_once

    async def screen(self, kind: RecordKind, first: int, before: int) -> Screened:
        """Compares the buckets from `first` up to but not including `before`."""
        pages = await self._read(kind, first, before)
        suspects: list[str] = []
        parts = _parts(pages, first, before)
        while some := list(islice(parts, self._at_once)):
            beat()
            told = await self._comparison.digests(kind, [(part, _size(page) + 1) for part, page in some])
            for (part, page), digest in zip(some, told, strict=True):
                expected = "" if page is None else page.text
                if digest.loaded is None:
                    continue  # being rebuilt: what is not there yet is no difference
                if digest.size != _size(page) or digest.sha1 != _sha1(expected):
                    suspects += await self._suspects(kind, part, expected)
        return Screened(sum(row.size for some in pages.values() for row in some), suspects)

    async def _suspects(self, kind: RecordKind, part: Part, expected: str) -> list[str]:
        there = await self._comparison.lines(kind, part)
        if there.loaded is None:
            return []
        strays = [name for name in there.of if not kind.holds(name, part.bucket)]
        if strays:
            await self._comparison.forget(kind, part.bucket, strays)
        here = {line.partition(" ")[0]: line for line in expected.split("\n")} if expected else {}
        return [name for name in here | there.of if name not in strays and here.get(name) != there.of.get(name)]

    async def _read(self, kind: RecordKind, first: int, before: int) -> Mapping[int, Sequence[Row[Any]]]:
        values: dict[str, Any] = {"first": first, "before": before, "page": self._page}
        statement = _API_KEY_PAGES
        if kind is LICENSES:
            statement = _LICENSE_PAGES
            values |= {"first": bytes([first]), "before": bytes([before]) if before < keys.BUCKETS else None}
        buckets: dict[int, list[Row[Any]]] = defaultdict(list)
        async with step(), self._database.as_system() as tx:
            for row in await tx.session.execute(statement, values):
                buckets[row.bucket].append(row)
        return buckets


def _parts(pages: Mapping[int, Sequence[Row[Any]]], first: int, before: int) -> Iterator[tuple[Part, Row[Any] | None]]:
    for bucket in range(first, before):
        after = ""
        mine = pages.get(bucket, ())
        for page in mine[:-1]:
            yield Part(bucket, after, page.last), page
            after = page.last
        yield Part(bucket, after, ""), mine[-1] if mine else None


def _size(page: Row[Any] | None) -> int:
    return 0 if page is None else int(page.size)


def _sha1(lines: str) -> str:
    return hashlib.sha1(lines.encode(), usedforsecurity=False).hexdigest()
