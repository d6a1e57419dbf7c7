"""Standing of a license: its state, and the causes for which it is suspended, changed together.

A file of its own because several domains change it: staff's routes, the mirror of Stripe, the end of an account. Each
names an event; core/licensing/state.py says what follows from it. The license must be locked by the transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from billing_api.access.staff_reason import StaffReason
from billing_api.licensing.licenses import standing_repository as repository
from billing_api.licensing.licenses.issuing import Term
from billing_api.licensing.licenses.terms import apply_plan, set_paid_period
from core.ids import new_id
from core.jobs import AlignAccount, Provision
from core.licensing.state import OPENS, Cause, Event, Standing, Status, move
from db.models.licensing import License, LicenseSuspension, Plan, ProvisioningState
from db.unit_of_work import PrivilegedTransaction

_BY_HAND: Final = Standing(Status.SUSPENDED, frozenset({Cause.STAFF}))
_NO_WORDS: Final = StaffReason(None)


async def change_standing(
    tx: PrivilegedTransaction, license_: License, event: Event, said: StaffReason, now: datetime
) -> bool:
    """Applies the event to the license and its causes. Returns whether the state changed; NextPanel is told then.

    The same event again changes nothing but the words. IllegalMove where the table does not know the move.
    """
    # 1. The rules.
    before = await standing(tx, license_)
    after = move(before, event)
    # 2. The causes: what the event opens is given its latest words, also where it was open.
    if closed := before.causes - after.causes:
        await repository.close(tx, license_.id, closed, now)
    if event in OPENS:
        await repository.open_(tx, _row(license_, OPENS[event], said, now))
    # 3. The license shows the words of what happened last, but a suspension that goes on those of its cause.
    if event in OPENS or after.status is not before.status or event is Event.RESUMED_BY_ADMIN:
        license_.status_reason, license_.status_message = said
    elif closed:
        latest = (await repository.open_rows(tx, license_.id))[-1]
        license_.status_reason, license_.status_message = latest.reason, latest.message
    license_.status = after.status
    license_.updated_at = now
    if after.status is before.status:
        return False
    await tx.enqueue(AlignAccount(license_.id))
    return True


async def standing(tx: PrivilegedTransaction, license_: License) -> Standing:
    """State and open causes. A suspension without any was typed into the database by hand: that is staff's."""
    if license_.status is not Status.SUSPENDED:
        return Standing(license_.status)
    causes = frozenset(row.cause for row in await repository.open_rows(tx, license_.id))
    return Standing(license_.status, causes) if causes else _BY_HAND


async def bring_back(
    tx: PrivilegedTransaction, license_: License, plan: Plan, term: Term, *, checkout_id: UUID, now: datetime
) -> None:
    """Gives an ended license, which a paid checkout names, its new term: same id, same key. IllegalMove otherwise.

    NextPanel makes another account, under a key of its own; the old one was terminated, and what its panel had
    reported went with it. So the totals begin at nothing, and the panel's first full count sets them.
    """
    await change_standing(tx, license_, Event.BOUGHT_AGAIN, _NO_WORDS, now)
    license_.checkout_id = checkout_id
    license_.extended_until = None
    license_.activation_date, license_.auto_renew = term.start, True
    await apply_plan(tx, license_, plan)
    set_paid_period(license_, term)
    # What is known of the account is of the former one.
    license_.account_generation += 1
    license_.account_order = license_.nextpanel_user_id = license_.nextpanel_login_url = None
    license_.provisioning, license_.provisioning_error = ProvisioningState.PENDING, None
    await repository.start_usage_again(tx, license_.id, license_.account_generation, now)
    await tx.enqueue(Provision(license_.id))
    await tx.audit("license.bought_again", "license", license_.id, plan=plan.name)
    await tx.session.flush()


async def open_causes(tx: PrivilegedTransaction, license_id: UUID) -> Sequence[LicenseSuspension]:
    """The rows of the open causes, the oldest first."""
    return await repository.open_rows(tx, license_id)


def _row(license_: License, cause: Cause, said: StaffReason, now: datetime) -> LicenseSuspension:
    return LicenseSuspension(
        id=new_id(),
        user_id=license_.user_id,
        license_id=license_.id,
        cause=cause,
        since=now,
        reason=said.reason,
        message=said.message,
    )
