"""License repository: every SQL statement about licenses."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    case,
    delete,
    func,
    literal,
    select,
    text,
    union,
    update,
)
from sqlalchemy.orm import aliased

from billing_api.licensing.licenses.standing_repository import open_causes_shown
from billing_api.licensing.licenses.views import ForStaff, Shown
from core.errors import FieldError, InvalidInput, NotFound
from core.licensing.plan import RESOURCES
from core.licensing.state import Status
from core.mailbox import mailbox_key
from db.clock import STATEMENT_NOW
from db.models.commerce import LicenseSubscription, Subscription, SubscriptionStatus
from db.models.identity import User
from db.models.licensing import License, LicenseType, Plan, ProvisioningState
from db.models.usage import LicenseUsage, OverageCandidate
from db.paging import Order
from db.unit_of_work import CustomerTransaction, StaffTransaction, SystemTransaction, Transaction

NEWEST_FIRST: Final = Order(License.created_at, License.id)
CORRECTION_SHOWS: Final = timedelta(days=30)

_LOCK_ACCOUNT: Final = text(
    "SELECT pg_try_advisory_xact_lock(hashtextextended('nextpanel account ' || :license_id, 0))"
)


class LicensedAccount(NamedTuple):
    """A license as its account on NextPanel has to follow it."""

    user_id: UUID
    email: str
    plan_name: str
    license_type: LicenseType
    features: Mapping[str, Any]
    status: Status
    provisioning: ProvisioningState
    account_order: Mapping[str, Any] | None
    account_generation: int
    version: int


def effective_status(now: datetime | ColumnElement[datetime]) -> ColumnElement[Status]:
    """`schemas.effective_status` as SQL, so that a list is filtered by the status that it shows."""
    # greatest() ignores NULL, as `schemas.effective_status` ignores missing instants.
    lapsed = License.expiry_date.is_not(None) & (func.greatest(License.expiry_date, License.grace_until) <= now)
    expired = literal(Status.EXPIRED, License.status.type)
    return case(((License.status == Status.ACTIVE) & lapsed, expired), else_=License.status)


def subscription_id() -> ScalarSelect[Any]:
    """The subscription that pays for the license: the newest, but one that has ended only where there is no other."""
    its = (
        select(Subscription.id)
        .join(LicenseSubscription, LicenseSubscription.subscription_id == Subscription.id)
        .where(LicenseSubscription.license_id == License.id)
        .correlate(License)
    )
    ended = Subscription.status == SubscriptionStatus.CANCELLED
    return its.order_by(ended, Subscription.created_at.desc()).limit(1).scalar_subquery()


def visible() -> Select[License, str, UUID | None, list[dict[str, Any]]]:
    """The licenses that the session may see: the columns of `Shown`."""
    causes = open_causes_shown(to_staff=False)
    return select(License, Plan.name, subscription_id(), causes).join(Plan, Plan.id == License.plan_id)


async def one(tx: Transaction, license_id: UUID) -> Shown:
    row = (await tx.session.execute(visible().where(License.id == license_id))).one_or_none()
    if row is None:
        raise NotFound("there is no such license")
    return Shown(*row)


async def lock(tx: Transaction, license_id: UUID) -> License:
    """The license, locked until the transaction ends. In a customer's transaction only the customer's own exist."""
    license_ = await tx.session.scalar(select(License).where(License.id == license_id).with_for_update())
    if license_ is None:
        raise NotFound("there is no such license")
    return license_


async def set_label(tx: CustomerTransaction, license_id: UUID, label: str | None, now: datetime) -> bool:
    """False where the license has this label already, or is not the customer's."""
    other = (License.id == license_id, License.label.is_distinct_from(label))
    statement = update(License).where(*other).values(label=label, updated_at=now).returning(License.id)
    return await tx.session.scalar(statement.execution_options(synchronize_session=False)) is not None


async def lock_own(tx: SystemTransaction, license_id: UUID, user_id: UUID) -> License:
    """`lock` in a system transaction, with the condition that row-level security would add for the customer."""
    mine = select(License).where(License.id == license_id, License.user_id == user_id)
    license_ = await tx.session.scalar(mine.with_for_update())
    if license_ is None:
        raise NotFound("there is no such license")
    return license_


async def of_checkout(tx: SystemTransaction, checkout_id: UUID) -> License | None:
    statement = select(License).where(License.checkout_id == checkout_id).with_for_update()
    license_: License | None = await tx.session.scalar(statement)
    return license_


async def usage_of(tx: Transaction, license_id: UUID) -> dict[str, int]:
    rows = await tx.session.execute(
        select(LicenseUsage.resource, LicenseUsage.used).where(LicenseUsage.license_id == license_id)
    )
    return {row.resource: row.used for row in rows}


def shows_overage(now: datetime) -> ColumnElement[bool]:
    """Whether a total of the license exceeds its limit, is below zero, or was corrected to 0 recently.

    A correction is listed for CORRECTION_SHOWS, or until the panel reports its full count. It means that deletions were
    reported without their creations, and staff should find out why.
    """
    is_below = LicenseUsage.below_since.is_not(None) | (LicenseUsage.corrected_at > now - CORRECTION_SHOWS)
    return License.id.in_(union(_exceeding(), select(LicenseUsage.license_id).where(is_below)))


def _exceeding() -> Select[UUID]:
    """Licenses with a total above its limit. A limit of NULL is unlimited: the comparison is not true then.

    Only candidates are read: every such license is among them (db/migrations/versions/0010_overages.sql).
    """
    candidate, license_ = aliased(OverageCandidate), aliased(License)
    limit = case({name: getattr(license_, f"max_{name}") for name in RESOURCES}, value=LicenseUsage.resource)
    return (
        select(candidate.license_id)
        .join(license_, license_.id == candidate.license_id)
        .join(LicenseUsage, LicenseUsage.license_id == candidate.license_id)
        .where(LicenseUsage.used > limit)
    )


async def below_zero(tx: SystemTransaction, now: datetime) -> tuple[int, int]:
    """How many totals are below zero now, and how many were corrected to 0 recently."""
    is_recent = LicenseUsage.corrected_at > now - CORRECTION_SHOWS
    statement = select(
        func.count().filter(LicenseUsage.below_since.is_not(None)), func.count().filter(is_recent)
    ).where(LicenseUsage.below_since.is_not(None) | LicenseUsage.corrected_at.is_not(None))
    row = (await tx.session.execute(statement)).one()
    return row[0], row[1]


async def delete_stale_candidates(tx: SystemTransaction, quiet_for: timedelta) -> int:
    """Deletes candidates that exceed no limit and were not noted for `quiet_for`; returns how many.

    `quiet_for` must be longer than any transaction: an open one may still see older limits. A candidate that is noted
    meanwhile stays, because PostgreSQL checks a changed row again, with its new instant.
    """
    quiet = OverageCandidate.noted_at < STATEMENT_NOW - quiet_for
    result = await tx.session.execute(
        delete(OverageCandidate).where(quiet, OverageCandidate.license_id.not_in(_exceeding()))
    )
    return int(result.rowcount)  # type: ignore[attr-defined]  # a DELETE has one


def search(
    *,
    email: str | None = None,
    key_hash: bytes | None = None,
    provisioning: ProvisioningState | None = None,
) -> Select[License, str, str, UUID | None, list[dict[str, Any]]]:
    """For staff: the columns of `ForStaff`. Every given condition must be true."""
    statement = (
        select(License, Plan.name, User.email, subscription_id(), open_causes_shown(to_staff=True))
        .join(Plan, Plan.id == License.plan_id)
        .join(User, User.id == License.user_id)
    )
    if email is not None:
        statement = statement.where(User.email_key == mailbox_key(email))
    if key_hash is not None:
        statement = statement.where(License.license_key_hash == key_hash)
    if provisioning is not None:
        statement = statement.where(License.provisioning == provisioning)
    return statement


async def one_for_staff(tx: StaffTransaction, license_id: UUID) -> ForStaff:
    # Read again from the database: triggers have raised the version of a row that this transaction changed.
    statement = search().where(License.id == license_id).execution_options(populate_existing=True)
    row = (await tx.session.execute(statement)).one_or_none()
    if row is None:
        raise NotFound("there is no such license")
    return ForStaff(*row)


async def user_by_email(tx: StaffTransaction, email: str) -> User:
    """Locked, so that a concurrent deletion of the account either sees the new license or comes first."""
    by_email = select(User).where(User.email_key == mailbox_key(email))
    user = await tx.session.scalar(by_email.with_for_update(key_share=True))
    if user is None:
        raise NotFound("no account has this e-mail address; check it, or ask the customer to register")
    return user


async def plan_of(tx: Transaction, license_: License) -> Plan:
    return await tx.session.get_one(Plan, license_.plan_id)


async def plan_of_code(tx: StaffTransaction, code: str) -> Plan:
    plan = await tx.session.scalar(select(Plan).where(Plan.code == code, Plan.is_active))
    if plan is None:
        told = "is the code of no plan that is on sale; see GET /api/v1/plans"
        raise InvalidInput(f"plan {told}", errors=(FieldError("plan", told, "not_one_of"),))
    return plan


async def lock_account(tx: SystemTransaction, license_id: UUID) -> bool:
    """Takes the lock on the license's NextPanel account until the transaction ends; False where it is taken."""
    return bool(await tx.session.scalar(_LOCK_ACCOUNT, {"license_id": str(license_id)}))


async def licensed_account(tx: SystemTransaction, license_id: UUID) -> LicensedAccount | None:
    statement = (
        select(
            License.user_id,
            User.email,
            Plan.name,
            License.license_type,
            License.features,
            License.status,
            License.provisioning,
            License.account_order,
            License.account_generation,
            License.version,
        )
        .join(User, User.id == License.user_id)
        .join(Plan, Plan.id == License.plan_id)
        .where(License.id == license_id)
    )
    row = (await tx.session.execute(statement)).one_or_none()
    return None if row is None else LicensedAccount(*row)


async def note_account_order(tx: SystemTransaction, license_id: UUID, order: Mapping[str, Any]) -> None:
    await tx.session.execute(update(License).where(License.id == license_id).values(account_order=order))


async def note_account(
    tx: SystemTransaction, license_id: UUID, account_id: UUID, login_url: str
) -> Row[Status, LicenseType, dict[str, Any]] | None:
    """Stores the account. Returns the license's present status, type and features; None if it was stored before."""
    done = (
        update(License)
        .where(License.id == license_id, License.provisioning != ProvisioningState.DONE)
        .values(
            nextpanel_user_id=account_id,
            nextpanel_login_url=login_url,
            provisioning=ProvisioningState.DONE,
            provisioning_error=None,
        )
        .returning(License.status, License.license_type, License.features)
    )
    return (await tx.session.execute(done)).one_or_none()


async def note_account_failed(tx: SystemTransaction, license_id: UUID, reason: str) -> None:
    failed = update(License).where(License.id == license_id, License.provisioning != ProvisioningState.DONE)
    await tx.session.execute(failed.values(provisioning=ProvisioningState.FAILED, provisioning_error=reason))
