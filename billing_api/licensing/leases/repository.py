"""Lease repository: every SQL statement about leases.

A lease is due by the state of its rows, not by a schedule. So the next pass finds everything that an earlier one
missed. A usable license is due in these cases:

- It has no lease of its present version.
- Its lease ends soon.
- Its lease was signed with a key that is no longer published.

A license that is not usable is due while it has a lease, which is then withdrawn.

A claim locks licenses, not leases, because there may be no lease to lock yet. `NO KEY` does not block usage reports,
which only refer to a license. While the claim is held the license cannot get another version. Claimed licenses are
checked again: the claim saw the leases of its statement's start, and another worker may have committed since.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from db.unit_of_work import SystemTransaction

_DUE: Final = """
    CASE WHEN licenses.status = 'active'
              AND (licenses.expiry_date IS NULL OR greatest(licenses.expiry_date, licenses.grace_until) > :now)
         THEN leases.version IS DISTINCT FROM licenses.version
              OR leases.not_after < :renew_before
              OR leases.kid <> ALL (CAST(:kids AS text[]))
         ELSE leases.license_id IS NOT NULL END
"""

# Within one pass ids only rise, so each license is checked once; rows that commit later belong to the next pass.
# Both tables have the condition on `:after`: the planner merges them by id, and for each batch would read the table
# without it from the start.
_CLAIM_DUE: Final = text(
    f"""
    SELECT licenses.id FROM licenses
    LEFT JOIN leases ON leases.license_id = licenses.id AND leases.license_id > :after
    WHERE licenses.id > :after AND ({_DUE})
    ORDER BY licenses.id LIMIT :most FOR NO KEY UPDATE OF licenses SKIP LOCKED
    """  # noqa: S608  put together from the constant above
)

_CLAIM: Final = text(
    "SELECT id FROM licenses WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
)

_STILL_DUE: Final = text(
    f"""
    SELECT licenses.id FROM licenses LEFT JOIN leases ON leases.license_id = licenses.id
    WHERE licenses.id = ANY (CAST(:ids AS uuid[])) AND ({_DUE})
    """  # noqa: S608  put together from the constant above
)

_STORE: Final = text(
    """
    INSERT INTO leases (license_id, user_id, version, not_after, token, kid, signed_at)
    SELECT licenses.id, licenses.user_id, signed.version, signed.not_after, signed.token, :kid, :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:versions AS bigint[]), CAST(:ends AS timestamptz[]),
                CAST(:tokens AS text[])) AS signed (license_id, version, not_after, token)
    JOIN licenses ON licenses.id = signed.license_id
    ON CONFLICT (license_id) DO UPDATE SET
        version = excluded.version, not_after = excluded.not_after, token = excluded.token,
        kid = excluded.kid, signed_at = excluded.signed_at
    """
)

_WITHDRAW: Final = text("DELETE FROM leases WHERE license_id = ANY (CAST(:ids AS uuid[]))")

# The order prevents a deadlock between two workers.
_ANNOUNCE: Final = text(
    """
    INSERT INTO lease_keys (kid, public_key, published_until)
    SELECT kid, public_key, :until
    FROM unnest(CAST(:kids AS text[]), CAST(:public_keys AS bytea[])) AS mine (kid, public_key) ORDER BY kid
    ON CONFLICT (kid) DO UPDATE SET published_until = excluded.published_until
        WHERE lease_keys.public_key = excluded.public_key
              AND lease_keys.published_until < excluded.published_until - interval '1 minute'
    """
)

_PUBLISHED: Final = text("SELECT kid, public_key FROM lease_keys WHERE published_until > :now ORDER BY kid")


class DueCriteria(NamedTuple):
    """When a lease is due: the present instant, the earliest end that is late enough, and the published keys."""

    now: datetime
    renew_before: datetime
    kids: Sequence[str]


class SignedLease(NamedTuple):
    license_id: UUID
    version: int
    not_after: datetime
    token: str


async def claim_due(tx: SystemTransaction, criteria: DueCriteria, *, after: UUID, most: int) -> list[UUID]:
    """Locks licenses with ids above `after` whose lease is due. Fewer than `most` means that the pass is complete."""
    found = await tx.session.scalars(_CLAIM_DUE, {"after": after, "most": most, **_values(criteria)})
    return list(found)


async def claim(tx: SystemTransaction, license_ids: Sequence[UUID]) -> list[UUID]:
    """Locks those of these licenses that no other worker has locked."""
    return list(await tx.session.scalars(_CLAIM, {"ids": list(license_ids)}))


async def still_due(tx: SystemTransaction, criteria: DueCriteria, claimed: Sequence[UUID]) -> list[UUID]:
    return list(await tx.session.scalars(_STILL_DUE, {"ids": list(claimed), **_values(criteria)}))


async def store(tx: SystemTransaction, leases: Sequence[SignedLease], *, kid: str, now: datetime) -> None:
    """Replaces each license's lease. The caller must hold the locks on the licenses."""
    if leases:
        ids, versions, ends, tokens = (list(column) for column in zip(*leases, strict=True))
        values = {"ids": ids, "versions": versions, "ends": ends, "tokens": tokens, "kid": kid, "now": now}
        await tx.session.execute(_STORE, values)


async def withdraw(tx: SystemTransaction, license_ids: Sequence[UUID]) -> None:
    if license_ids:
        await tx.session.execute(_WITHDRAW, {"ids": list(license_ids)})


async def announce(tx: SystemTransaction, public_keys: Mapping[str, bytes], until: datetime) -> None:
    """Publishes these keys until then, or longer. A kid that belongs to another key is not changed."""
    values = {"kids": list(public_keys), "public_keys": list(public_keys.values()), "until": until}
    await tx.session.execute(_ANNOUNCE, values)


async def published(tx: SystemTransaction, now: datetime) -> dict[str, bytes]:
    """Public keys by kid."""
    return {row.kid: row.public_key for row in await tx.session.execute(_PUBLISHED, {"now": now})}


def _values(criteria: DueCriteria) -> dict[str, Any]:
    return {"now": criteria.now, "renew_before": criteria.renew_before, "kids": list(criteria.kids)}
