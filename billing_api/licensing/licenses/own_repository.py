"""Repository of what owners read of their licenses: each read is one statement (db/reads.py)."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, func, literal, select

from billing_api.licensing.licenses.repository import NEWEST_FIRST, effective_status, subscription_id
from billing_api.licensing.licenses.standing_repository import open_causes_shown
from core.errors import NotFound
from core.licensing.plan import LIMITS
from db.models.licensing import License, Plan
from db.models.usage import LicenseUsage
from db.reads import CustomerReads, OwnList, OwnStatement

_NOW: Final[ColumnElement[datetime]] = bindparam("now", type_=License.created_at.type)
_OWN: Final = select(
    License.id,
    License.license_type,
    effective_status(_NOW).label("status"),
    License.status_message,
    (literal("…") + License.key_hint).label("key_hint"),
    *(getattr(License, limit) for limit in LIMITS),
    License.features,
    License.fingerprint_policy,
    License.fingerprint,
    License.nextpanel_user_id,
    License.nextpanel_login_url,
    License.provisioning,
    License.activation_date,
    License.expiry_date,
    License.grace_until,
    License.auto_renew,
    License.created_at,
    License.updated_at,
    License.label,
    Plan.name.label("plan"),
    subscription_id().label("subscription_id"),
    open_causes_shown(to_staff=False).label("suspension_causes"),
).join(Plan, Plan.id == License.plan_id)
"""A license as its owner sees it, by the names of `schemas.LicenseView`. It needs `now`."""

OWN_LIST: Final = OwnList(
    _OWN, NEWEST_FIRST, status=effective_status(_NOW) == bindparam("status", type_=License.status.type)
)
OWN_ONE: Final = OwnStatement(_OWN.where(License.id == bindparam("license_id", type_=License.id.type)))

_USED: Final = select(func.jsonb_object_agg(LicenseUsage.resource, LicenseUsage.used)).where(
    LicenseUsage.license_id == License.id
)
OWN_USAGE: Final = OwnStatement(
    select(
        License.id,
        License.license_key_hash,
        *(getattr(License, limit) for limit in LIMITS),
        _USED.correlate(License).scalar_subquery().label("used"),
    ).where(License.id == bindparam("license_id", type_=License.id.type))
)
"""A license's limits, and what is used of each resource: NULL where nothing is."""

OWN_ID: Final = OwnStatement(select(License.id).where(License.id == bindparam("license_id", type_=License.id.type)))


async def require(reads: CustomerReads, user_id: UUID, license_id: UUID) -> None:
    """NotFound where there is no such license of this user: for lists of what a license has, where they are empty."""
    if not await reads.rows(user_id, OWN_ID, {"license_id": license_id}):
        raise NotFound("there is no such license")
