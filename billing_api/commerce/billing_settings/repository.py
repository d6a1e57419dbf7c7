"""Repository of the billing settings: one row, or none while nobody has changed the default."""

from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from core.billing_policy import DEFAULT, BillingPolicy
from db.models.commerce import BillingSettings
from db.unit_of_work import StaffTransaction, Transaction


async def policy_in_force(tx: Transaction) -> BillingPolicy:
    stored: dict[str, Any] | None = await tx.session.scalar(select(BillingSettings.policy))
    return DEFAULT if stored is None else msgspec.convert(stored, BillingPolicy)


async def lock(tx: StaffTransaction) -> BillingPolicy:
    """The policy in force, which no other transaction changes until this one ends."""
    row = insert(BillingSettings).values(policy=msgspec.to_builtins(DEFAULT))
    await tx.session.execute(row.on_conflict_do_nothing())
    stored = await tx.session.scalar(select(BillingSettings.policy).with_for_update())
    return msgspec.convert(stored, BillingPolicy)


async def store(tx: StaffTransaction, policy: BillingPolicy) -> None:
    row = insert(BillingSettings).values(policy=msgspec.to_builtins(policy))
    replaced = {"policy": row.excluded.policy}
    await tx.session.execute(row.on_conflict_do_update(index_elements=["only_row"], set_=replaced))
