"""Provisioning: makes a license's account on NextPanel after the purchase, and keeps it aligned with the license.

Each handler holds an advisory lock of its license from before it reads the license until NextPanel has answered. Two
jobs of one license that overlapped could suspend what the other has just resumed. The lock belongs to an otherwise
empty transaction, so it ends with the process that holds it, and no table is locked while a partner is asked.

Making the account has one idempotency key for ever, `provision-<license id>`: after an earlier call, a later one has no
second effect. A license that was bought again after its end gets another account, so its key has a number; the former
account is terminated before. NextPanel refuses another content under a known key. So the content is written down before
the first call, because the plan, or the owner's address, may change between two attempts. What has changed since then
is corrected by aligning, which has a key for each version of the license.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from billing_api.gateways.http_client import PartnerRefused, Retryable
from billing_api.gateways.nextpanel import AccountOrder, NextPanel, PanelAccount, PlanChange
from billing_api.licensing.licenses import repository
from billing_api.licensing.licenses.repository import LicensedAccount
from billing_api.notifications.mails.service import queue_mail
from core.clock import Clock, utc_now
from core.jobs import AlignAccount, Provision
from core.licensing.state import Status
from core.telemetry import logger
from db.models.licensing import ProvisioningState
from db.unit_of_work import Database, SystemTransaction

_OVER: Final = frozenset({Status.CANCELLED, Status.EXPIRED})
_STOPPED: Final = frozenset({Status.SUSPENDED, Status.EXPIRED})


class Provisioning:
    def __init__(self, database: Database, nextpanel: NextPanel, clock: Clock = utc_now) -> None:
        self._database = database
        self._nextpanel = nextpanel
        self._clock = clock

    async def provision(self, job: Provision) -> None:
        async with self._alone(job.license_id):
            license_ = await self._read(job.license_id)
            # A license that ended unprovisioned needs no account; if it is paid again, aligning asks for one.
            if license_ is None or license_.provisioning is ProvisioningState.DONE or license_.status in _OVER:
                return
            order = await self._order(job.license_id, license_)
            if license_.account_generation:  # the former account's end may wait still; a second one would be refused
                await self._terminate(job.license_id, _numbered("again", license_))
            key = _numbered(f"provision-{job.license_id}", license_)
            account = await self._nextpanel.provision(order, key=key)
            async with self._database.as_system() as tx:
                await _write_down(tx, job.license_id, account, order, license_, self._clock())
            logger().info("license.provisioned", license_id=str(job.license_id))

    async def _order(self, license_id: UUID, license_: LicensedAccount) -> AccountOrder:
        """The order that was written down first; without one, writes down the order as of now."""
        if license_.account_order is not None:
            return msgspec.convert(license_.account_order, AccountOrder)
        order = AccountOrder(
            license_id=license_id,
            user_email=license_.email,
            plan=license_.license_type.value,
            features=dict(license_.features),
        )
        async with self._database.as_system() as tx:
            await repository.note_account_order(tx, license_id, msgspec.to_builtins(order))
        return order

    async def refuse(self, tx: SystemTransaction, job: Provision, reason: str) -> None:
        """Shows on the license that there will be no account until somebody acts."""
        await repository.note_account_failed(tx, job.license_id, reason)

    async def align(self, job: AlignAccount) -> None:
        """Aligns the account with the license as it is now, whatever the job was written for."""
        async with self._alone(job.license_id):
            license_ = await self._read(job.license_id)
            if license_ is None:
                return
            if license_.status is Status.CANCELLED:
                await self._terminate(job.license_id, str(license_.version))
            elif license_.provisioning is ProvisioningState.DONE:
                await self._follow(job.license_id, license_)
            elif license_.provisioning is ProvisioningState.PENDING:
                async with self._database.as_system() as tx:  # its last step aligns what has changed meanwhile
                    await tx.enqueue(Provision(job.license_id))

    async def _follow(self, license_id: UUID, license_: LicensedAccount) -> None:
        version = license_.version
        if license_.status in _STOPPED:
            with _nothing_there():
                await self._nextpanel.suspend(license_id, key=f"suspend-{license_id}-{version}")
            return
        change = PlanChange(license_id, license_.license_type.value, dict(license_.features))
        await self._nextpanel.change_plan(change, key=f"change-plan-{license_id}-{version}")
        await self._nextpanel.resume(license_id, key=f"resume-{license_id}-{version}")

    async def _terminate(self, license_id: UUID, mark: str) -> None:
        """Asks even where we know of no account: a call that timed out may have made one."""
        with _nothing_there():
            await self._nextpanel.terminate(license_id, key=f"terminate-{license_id}-{mark}")

    @asynccontextmanager
    async def _alone(self, license_id: UUID) -> AsyncIterator[None]:
        async with self._database.as_system() as tx:
            if not await repository.lock_account(tx, license_id):
                raise Retryable("another job is working on this license's account; it is tried again", retry_after=1)
            yield

    async def _read(self, license_id: UUID) -> LicensedAccount | None:
        async with self._database.as_system() as tx:
            return await repository.licensed_account(tx, license_id)


def _numbered(name: str, license_: LicensedAccount) -> str:
    """A name of this account: the license's first has no number, as names had none before there was a second."""
    return f"{name}-{license_.account_generation}" if license_.account_generation else name


@contextmanager
def _nothing_there() -> Iterator[None]:
    """Passes over a 404: an account that is not there need not be stopped."""
    try:
        yield
    except PartnerRefused as refusal:
        if refusal.answered != 404:
            raise


async def _write_down(
    tx: SystemTransaction,
    license_id: UUID,
    account: PanelAccount,
    order: AccountOrder,
    license_: LicensedAccount,
    now: datetime,
) -> None:
    """The account and what follows from it, in one transaction; nothing where it was written down before."""
    current = await repository.note_account(tx, license_id, account.nextpanel_account_id, account.login_url)
    if current is None:
        return
    await queue_mail(
        tx,
        "license_ready",
        user_id=license_.user_id,
        recipient=license_.email,
        occasion=_numbered(str(license_id), license_),
        now=now,
        parameters={"license_id": str(license_id), "plan_name": license_.plan_name, "login_url": account.login_url},
    )
    # What has changed since the order was written down is brought to the account by a job of its own.
    ordered = (order.plan, order.features)
    if current.status is not Status.ACTIVE or (current.license_type.value, current.features) != ordered:
        await tx.enqueue(AlignAccount(license_id))
