"""SQL of the export and of a deletion. Rows of one user, or of all deleted users."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, case, delete, func, null, or_, select, text, update

from billing_api.privacy.inventory import HOLDINGS, Fate, Holding
from core.licensing.state import Status
from db.clock import NOW
from db.models.all_tables import METADATA
from db.models.commerce import Checkout, CheckoutStatus, Subscription, SubscriptionStatus
from db.models.identity import User
from db.models.licensing import ApiKey, License, LicenseSuspension
from db.models.messaging import AuditRow, Mail
from db.models.money_back import Refund
from db.unit_of_work import SystemTransaction, Transaction

Whose = Select[UUID]

# What finds the object again, which is all that working the event off needs
# (billing_api/operations/webhooks/service.py).
_REDUCE_EVENTS: Final = text(
    """
    UPDATE webhook_events SET payload = jsonb_build_object(
        'id', payload -> 'id', 'type', payload -> 'type', 'reduced', true,
        'data', jsonb_build_object('object', jsonb_strip_nulls(jsonb_build_object(
            'id', payload #> '{data,object,id}', 'object', payload #> '{data,object,object}',
            'customer', payload #> '{data,object,customer}'))))
    FROM users CROSS JOIN LATERAL (
        SELECT users.stripe_customer_id UNION ALL SELECT jsonb_array_elements_text(users.former_stripe_customer_ids)
    ) AS known (customer_id)
    WHERE users.deleted_at IS NOT NULL AND users.id = coalesce(:user_id, users.id)
        AND np_event_customer(payload) = known.customer_id AND NOT payload ? 'reduced'
    """
)


# A dispute names no customer, and holds the evidence that was given about one.
_REDUCE_DISPUTES: Final = text(
    """
    UPDATE webhook_events SET payload = jsonb_build_object(
        'id', payload -> 'id', 'type', payload -> 'type', 'reduced', true,
        'data', jsonb_build_object('object', jsonb_build_object(
            'id', payload #> '{data,object,id}', 'object', payload #> '{data,object,object}')))
    FROM users JOIN payments ON payments.user_id = users.id
    WHERE users.deleted_at IS NOT NULL AND users.id = coalesce(:user_id, users.id)
        AND event_type LIKE 'charge.dispute.%' AND payload #>> '{data,object,charge}' = payments.stripe_charge_id
        AND NOT payload ? 'reduced'
    """
)


async def page_of(tx: Transaction, holding: Holding, user_id: UUID, *, page: int, most: int) -> list[Mapping[str, Any]]:
    """One row more than a page has, where there is one."""
    table = METADATA.tables[holding.table]
    shown = [table.c[name] for name in holding.shown.split()]
    order = [table.c[name] for name in holding.order.split()]
    return await rows_of(
        tx, select(*shown).where(_is_own(table, holding, user_id)).order_by(*order), page=page, most=most
    )


async def audit_page(tx: SystemTransaction, user_id: UUID, *, page: int, most: int) -> list[Mapping[str, Any]]:
    """Acts of the user and acts on the account. Details of acts on others, which staff have, are others' data.

    The reason that staff give for an act is for staff; what they wrote to the user is its message.
    """
    is_own = AuditRow.actor_id == user_id
    is_about_him = and_(AuditRow.target_kind == "user", AuditRow.target_id == str(user_id))
    actor = case((AuditRow.actor_id.is_(None), "system"), (is_own, "owner"), else_="staff").label("actor")
    is_by_staff = is_about_him & (AuditRow.actor_id != user_id)
    told = case((is_by_staff, AuditRow.detail.op("-")("reason")), (is_about_him, AuditRow.detail), else_=null())
    detail = told.label("detail")
    statement = select(AuditRow.at, AuditRow.action, actor, AuditRow.target_kind, AuditRow.target_id, detail)
    return await rows_of(tx, statement.where(or_(is_own, is_about_him)).order_by(AuditRow.id), page=page, most=most)


async def rows_of(
    tx: Transaction, statement: Select[*tuple[Any, ...]], *, page: int, most: int
) -> list[Mapping[str, Any]]:
    """That page of the rows of the statement."""
    found = await tx.session.execute(statement.limit(most + 1).offset(page * most))
    return [dict(row) for row in found.mappings()]


async def renewing_subscriptions(tx: SystemTransaction, user_id: UUID) -> int:
    renews = (Subscription.status != SubscriptionStatus.CANCELLED, ~Subscription.cancel_at_period_end)
    statement = select(func.count()).select_from(Subscription).where(Subscription.user_id == user_id, *renews)
    return await tx.session.scalar(statement) or 0


async def last_open_checkout(tx: SystemTransaction, user_id: UUID) -> datetime | None:
    """When the youngest one was begun. One that never got a page cannot be paid, unless it is being begun now."""
    payable = Checkout.stripe_session_id.is_not(None) | (Checkout.created_at > NOW - timedelta(minutes=5))
    is_open = (Checkout.user_id == user_id, Checkout.status == CheckoutStatus.OPEN, payable)
    begun: datetime | None = await tx.session.scalar(select(func.max(Checkout.created_at)).where(*is_open))
    return begun


async def lock_licenses_not_ended(tx: SystemTransaction, user_id: UUID) -> list[License]:
    """Locked in one order by every transaction."""
    not_ended = select(License).where(License.user_id == user_id, License.status != Status.CANCELLED)
    return list(await tx.session.scalars(not_ended.order_by(License.id).with_for_update()))


def only(user_id: UUID) -> Whose:
    return select(User.id).where(User.id == user_id)


def who_went(before: datetime) -> Whose:
    return select(User.id).where(User.deleted_at < before)


async def erase(tx: SystemTransaction, whose: Whose, *, mails_before: datetime) -> int:
    """Deletes what the inventory says; returns how many rows. Of mails, those written before.

    Younger mails count against the limit of an address for an hour. Were they forgotten at once, an account that
    is opened and deleted over and over would fill a stranger's mailbox.
    """
    erased = 0
    for holding in HOLDINGS:
        if holding.fate is Fate.ERASED:
            table = METADATA.tables[holding.table]
            statement = delete(table).where(table.c.user_id.in_(whose))
            if table is Mail.__table__:
                statement = statement.where(table.c.created_at < mails_before)
            erased += (await tx.session.execute(statement)).rowcount  # type: ignore[attr-defined]  # a DELETE has one
    return erased


async def reduce(tx: SystemTransaction, whose: Whose) -> int:
    """Takes personal data out of rows that stay. Rows that hold no more of it are not written again."""
    told = ApiKey.last_used_address.is_not(None)
    keys = update(ApiKey).where(ApiKey.user_id.in_(whose), or_(ApiKey.is_active, ApiKey.name != "", told))
    nothing: dict[Any, Any] = {
        "label": None,
        "account_order": null(),
        "fingerprint": None,
        "nextpanel_login_url": None,
        "provisioning_error": None,
    }
    tells = or_(*(getattr(License, name).is_not(None) for name in nothing))
    licenses = update(License).where(License.user_id.in_(whose), License.status == Status.CANCELLED, tells)
    off = {"is_active": False, "previous_secret": None, "previous_until": None, "name": "", "last_used_address": None}
    words: dict[Any, Any] = {"reason": None, "message": None}
    spoken = or_(*(getattr(LicenseSuspension, name).is_not(None) for name in words))
    causes = update(LicenseSuspension).where(LicenseSuspension.user_id.in_(whose), spoken)
    notes = update(Refund).where(Refund.user_id.in_(whose), Refund.note.is_not(None)).values(note=None)
    reduced = 0
    for statement in (keys.values(off), licenses.values(nothing), causes.values(words), notes):
        done = await tx.session.execute(statement.execution_options(synchronize_session=False))
        reduced += done.rowcount  # type: ignore[attr-defined]  # an UPDATE has one
    return reduced


async def reduce_events(tx: SystemTransaction, user_id: UUID | None = None) -> int:
    """Of one deleted user, or of all of them."""
    reduced = 0
    for statement in (_REDUCE_EVENTS, _REDUCE_DISPUTES):
        done = await tx.session.execute(statement, {"user_id": user_id})
        reduced += done.rowcount  # type: ignore[attr-defined]  # an UPDATE has one
    return reduced


async def stripe_customer_of(tx: SystemTransaction, user_id: UUID) -> str | None:
    """None where the user is not deleted, or has no customer at Stripe."""
    gone = select(User.stripe_customer_id).where(User.id == user_id, User.deleted_at.is_not(None))
    customer_id: str | None = await tx.session.scalar(gone)
    return customer_id


def _is_own(table: Table, holding: Holding, user_id: UUID) -> ColumnElement[bool]:
    if holding.found_by == "license_id":  # the table has no index by user
        return table.c.license_id.in_(select(License.id).where(License.user_id == user_id)) & (
            table.c.user_id == user_id
        )
    return table.c[holding.found_by] == user_id
