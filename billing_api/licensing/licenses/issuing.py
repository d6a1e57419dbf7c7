"""Issuing of licenses, inside the caller's transaction: after a paid purchase, or by an admin.

A file of its own because two domains use it, the mirror of Stripe's objects and the admin's route. Both must write the
license in the transaction that records its reason.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from core.ids import new_id
from core.jobs import Provision
from core.licensing import key as license_key
from core.licensing.state import Status
from core.settings import Secrets
from db.models.licensing import FingerprintPolicy, License, Plan, ProvisioningState
from db.unit_of_work import PrivilegedTransaction

KEY_CONTEXT = "licenses.license_key:{}"


class Issued(NamedTuple):
    """`key` is the plain text: show it once or never, and do not store it."""

    license: License
    key: str


class Term(NamedTuple):
    """When a license is valid; `expiry` None: without end. Between `expiry` and `grace_until` it is still valid."""

    start: datetime
    expiry: datetime | None = None
    grace_until: datetime | None = None


async def issue(
    tx: PrivilegedTransaction,
    secrets: Secrets,
    *,
    user_id: UUID,
    plan: Plan,
    term: Term,
    checkout_id: UUID | None = None,
    renews: bool = False,
) -> Issued:
    """Writes the license with the plan's present limits, and the job that creates its NextPanel account.

    `renews`: whether a subscription pays for it.
    """
    key = license_key.generate(secrets.license_checksum_key)
    license_id = new_id()
    license_ = License(
        id=license_id,
        user_id=user_id,
        plan_id=plan.id,
        checkout_id=checkout_id,
        license_key=seal_key(secrets, license_id, key),
        license_key_hash=key_hash(secrets, key),
        key_hint=license_key.hint(key),
        license_type=plan.license_type,
        status=Status.ACTIVE,
        features=plan.features,
        limits=plan.limits,
        fingerprint_policy=FingerprintPolicy.NONE,
        provisioning=ProvisioningState.PENDING,
        activation_date=term.start,
        expiry_date=term.expiry,
        grace_until=term.grace_until,
        auto_renew=renews,
    )
    tx.session.add(license_)
    await tx.session.flush()
    await tx.enqueue(Provision(license_id))
    return Issued(license_, key)


def seal_key(secrets: Secrets, license_id: UUID, key: str) -> bytes:
    return secrets.sealer.seal(key.encode(), context=KEY_CONTEXT.format(license_id))


def key_hash(secrets: Secrets, key: str) -> bytes:
    """The keyed hash that finds a license by its key, in PostgreSQL and in Redis."""
    return secrets.index.digest("license_key", key)


def open_key(secrets: Secrets, license_: License) -> str:
    return secrets.sealer.open(license_.license_key, context=KEY_CONTEXT.format(license_.id)).decode()
