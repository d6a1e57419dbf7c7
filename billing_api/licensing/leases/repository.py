"""Every SQL statement about leases.

A lease is due by its state, never by a date. Due is a license that stands and has no lease of its present version, one
with little life left, or one signed with a key that is no longer published. Due is also a license that does not stand
and has a lease. So the next look finds whatever was missed.

A claim locks licenses, not leases, since there may be no lease yet to lock; `NO KEY` leaves usage reports, which only
refer to a license, undisturbed. While it is held the license cannot get another version. What is claimed is looked at
once more: the claim saw the leases as they were when its statement began, and another worker may have committed since.
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

# Within one pass ids only rise, so each license is looked at once; what commits behind its back is the next pass's.
# Both tables are told where to begin: the planner merges them in the order of their ids, and would read the one that is
# not told from its start for every batch.
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

# Ordered, or two workers could wait for each other's rows.
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


class Lookout(NamedTuple):
    """What makes a lease due: the present instant, the end before which it is too short, the keys it may be from."""

    now: datetime
    renew_before: datetime
    kids: Sequence[str]


class SignedLease(NamedTuple):
    license_id: UUID
    version: int
    not_after: datetime
    token: str


async def claim_due(tx: SystemTransaction, lookout: Lookout, *, after: UUID, most: int) -> list[UUID]:
    """Licenses above `after` whose lease is due, ours until the transaction ends; fewer than `most` at the end."""
    found = await tx.session.scalars(_CLAIM_DUE, {"after": after, "most": most, **_values(lookout)})
    return list(found)


async def claim(tx: SystemTransaction, license_ids: Sequence[UUID]) -> list[UUID]:
    """Those of these licenses that nobody else holds."""
    return list(await tx.session.scalars(_CLAIM, {"ids": list(license_ids)}))


async def still_due(tx: SystemTransaction, lookout: Lookout, claimed: Sequence[UUID]) -> list[UUID]:
    return list(await tx.session.scalars(_STILL_DUE, {"ids": list(claimed), **_values(lookout)}))


async def store(tx: SystemTransaction, leases: Sequence[SignedLease], *, kid: str, now: datetime) -> None:
    """Each takes its predecessor's place. The caller holds the licenses."""
    if leases:
        ids, versions, ends, tokens = (list(column) for column in zip(*leases, strict=True))
        values = {"ids": ids, "versions": versions, "ends": ends, "tokens": tokens, "kid": kid, "now": now}
        await tx.session.execute(_STORE, values)


async def withdraw(tx: SystemTransaction, license_ids: Sequence[UUID]) -> None:
    if license_ids:
        await tx.session.execute(_WITHDRAW, {"ids": list(license_ids)})


async def announce(tx: SystemTransaction, public_keys: Mapping[str, bytes], until: datetime) -> None:
    """Has these keys published until then, or longer. A kid that belongs to another key is left as it is."""
    values = {"kids": list(public_keys), "public_keys": list(public_keys.values()), "until": until}
    await tx.session.execute(_ANNOUNCE, values)


async def published(tx: SystemTransaction, now: datetime) -> dict[str, bytes]:
    """Public keys by kid."""
    return {row.kid: row.public_key for row in await tx.session.execute(_PUBLISHED, {"now": now})}


def _values(lookout: Lookout) -> dict[str, Any]:
    return {"now": lookout.now, "renew_before": lookout.renew_before, "kids": list(lookout.kids)}
