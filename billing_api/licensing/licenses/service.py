"""License use cases: for customers with their own licenses, and for staff with all."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET

from billing_api.access.permissions import Principal
from billing_api.access.staff_reason import StaffReason
from billing_api.licensing.licenses import label, own_repository, repository
from billing_api.licensing.licenses.admin_schemas import (
    ChangeLicense,
    ExtendLicense,
    IssuedLicense,
    IssueLicense,
    LimitsGiven,
)
from billing_api.licensing.licenses.issuing import (
    Term,
    issue,
    key_hash,
    open_key,
    seal_key,
)
from billing_api.licensing.licenses.schemas import AdminLicenseView, LabelGiven, LicenseView, RevealedKey, UsageView
from billing_api.licensing.licenses.standing import change_standing
from billing_api.licensing.licenses.terms import set_overrides
from billing_api.licensing.licenses.usage_view import usage_view
from billing_api.licensing.licenses.views import ForStaff
from core.clock import Clock, rfc3339
from core.errors import Conflict, FieldError, InvalidInput, NotFound
from core.hotstore.reader import Reader
from core.jobs import Provision
from core.licensing import key as license_key
from core.licensing.plan import Limits
from core.licensing.state import Event, Status
from core.settings import Secrets
from db.idempotency import Once, Replayable
from db.models.licensing import ProvisioningState
from db.paging import Page, Paging, fetch_page
from db.reads import CustomerReads, OwnStatement, Record, Values
from db.unit_of_work import Database


class LicenseService:
    """The owner's view: row-level security shows every method only the caller's own licenses."""

    def __init__(
        self, database: Database, reads: CustomerReads, secrets: Secrets, clock: Clock, hot_store: Reader
    ) -> None:
        self._database = database
        self._reads = reads
        self._secrets = secrets
        self._clock = clock
        self._hot_store = hot_store

    async def page(self, principal: Principal, paging: Paging, *, status: Status | None) -> Page[LicenseView]:
        filters = {} if status is None else {"status": status.value}
        found = await own_repository.OWN_LIST.page(
            self._reads, principal.user_id, paging, filters=filters, values={"now": self._clock()}
        )
        return found.page(LicenseView.read(row) for row in found.rows)

    async def one(self, principal: Principal, license_id: UUID) -> LicenseView:
        values = {"license_id": license_id, "now": self._clock()}
        return LicenseView.read(await self._own(principal, own_repository.OWN_ONE, values))

    async def set_label(self, principal: Principal, license_id: UUID, order: LabelGiven) -> LicenseView:
        """Validators and panels know nothing of labels: no new version, nothing to project.

        The audit trail says that the label was changed and not to what: it cannot forget a person's words.
        """
        now = self._clock()
        async with self._database.as_customer(principal.user_id) as tx:
            if order.label is not UNSET:
                wanted = None if order.label is None else label.checked(order.label)
                if await repository.set_label(tx, license_id, wanted, now):
                    await tx.audit("license.label_changed", "license", license_id)
            row = await repository.one(tx, license_id)
        return LicenseView.of(row, now)

    async def reveal_key(self, principal: Principal, license_id: UUID) -> RevealedKey:
        """The key in plain text. Each call is written to the audit trail; the route needs a step-up."""
        async with self._database.as_customer(principal.user_id) as tx:
            license_, *_ = await repository.one(tx, license_id)
            await tx.audit("license.key_revealed", "license", license_id)
        return RevealedKey(open_key(self._secrets, license_))

    async def rotate_key(self, principal: Principal, license_id: UUID, once: Once) -> Replayable[RevealedKey]:
        """Replaces the license key, for example after a leak. The old key stops working.

        A trigger writes the outbox row that projects the license under its new hash, and a tombstone under the old one.
        API keys stay valid: they refer to the license, and are projected again.
        """
        now = self._clock()
        async with self._database.as_customer(principal.user_id) as tx:
            license_ = await repository.lock(tx, license_id)
            if stored := await once.claim(tx, RevealedKey):
                return stored
            key = license_key.generate(self._secrets.license_checksum_key)
            license_.license_key = seal_key(self._secrets, license_id, key)
            license_.license_key_hash = key_hash(self._secrets, key)
            license_.key_hint = license_key.hint(key)
            license_.updated_at = now
            await tx.audit("license.key_rotated", "license", license_id)
            return await once.record(tx, RevealedKey(key))

    async def usage(self, principal: Principal, license_id: UUID) -> UsageView:
        row = await self._own(principal, own_repository.OWN_USAGE, {"license_id": license_id})
        limits = Limits.read(row.by_name())
        return await usage_view(self._hot_store, row.license_key_hash, limits, row.used or {})

    async def _own(self, principal: Principal, statement: OwnStatement, values: Values) -> Record:
        rows = await self._reads.rows(principal.user_id, statement, values)
        if not rows:
            raise NotFound("there is no such license")
        return rows[0]


class LicenseAdministration:
    """License administration by staff, for every customer's licenses."""

    def __init__(self, database: Database, secrets: Secrets, clock: Clock, hot_store: Reader) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock
        self._hot_store = hot_store

    async def search(
        self,
        principal: Principal,
        paging: Paging,
        *,
        email: str | None,
        status: Status | None,
        provisioning: ProvisioningState | None,
        overage: bool | None,
    ) -> Page[AdminLicenseView]:
        now = self._clock()
        statement = repository.search(email=email, provisioning=provisioning)
        if status is not None:
            statement = statement.where(repository.effective_status(now) == status)
        if overage is not None:
            listed = repository.shows_overage(now)
            statement = statement.where(listed if overage else ~listed)
        async with self._database.as_staff(principal.user_id) as tx:
            found = await fetch_page(tx.session, statement, repository.NEWEST_FIRST, paging)
        return found.page(_for_staff(ForStaff(*row), now) for row in found.rows)

    async def one(self, principal: Principal, license_id: UUID) -> AdminLicenseView:
        async with self._database.as_staff(principal.user_id) as tx:
            row = await repository.one_for_staff(tx, license_id)
        return _for_staff(row, self._clock())

    async def usage(self, principal: Principal, license_id: UUID) -> UsageView:
        async with self._database.as_staff(principal.user_id) as tx:
            license_, *_ = await repository.one_for_staff(tx, license_id)
            used = await repository.usage_of(tx, license_id)
        return await usage_view(self._hot_store, license_.license_key_hash, license_.limits, used)

    async def find_by_key(self, principal: Principal, text: str) -> AdminLicenseView:
        """The license of a key. The key comes in the body, because URLs are written to logs."""
        key = license_key.parse(text, self._secrets.license_checksum_key)
        if key is None:
            raise NotFound("this is not a license key: a symbol is wrong or missing; check it symbol by symbol")
        statement = repository.search(key_hash=key_hash(self._secrets, key))
        async with self._database.as_staff(principal.user_id) as tx:
            row = (await tx.session.execute(statement)).one_or_none()
        if row is None:
            raise NotFound("no license has this key")
        return _for_staff(ForStaff(*row), self._clock())

    async def issue(self, principal: Principal, order: IssueLicense, once: Once) -> Replayable[IssuedLicense]:
        """Issues a license without a purchase. Its key is shown only in this answer."""
        now = self._clock()
        if order.expiry_date is not None and order.expiry_date <= now:
            past = FieldError("expiry_date", "is in the past")
            raise InvalidInput("expiry_date is in the past; send a later instant", errors=(past,))
        async with self._database.as_staff(principal.user_id) as tx:
            if stored := await once.claim(tx, IssuedLicense):
                return stored
            user = await repository.user_by_email(tx, order.email)
            plan = await repository.plan_of_code(tx, order.plan)
            made = await issue(tx, self._secrets, user_id=user.id, plan=plan, term=Term(now, order.expiry_date))
            await tx.audit("license.issued", "license", made.license.id, plan=order.plan, user_id=str(user.id))
            return await once.record(tx, IssuedLicense(made.license.id, made.key))

    async def suspend(self, principal: Principal, license_id: UUID, said: StaffReason) -> AdminLicenseView:
        return await self._move(principal, license_id, Event.SUSPENDED_BY_ADMIN, said)

    async def resume(self, principal: Principal, license_id: UUID, said: StaffReason) -> AdminLicenseView:
        return await self._move(principal, license_id, Event.RESUMED_BY_ADMIN, said)

    async def set_limits(self, principal: Principal, license_id: UUID, order: LimitsGiven) -> AdminLicenseView:
        """Effective at once. Usage above a new limit stays, and shows as overage.

        The limit also applies to later plans: as a minimum if it is above the present plan's, else as a maximum.
        """
        after = order.given()
        if not after:
            missing = FieldError("body", "needs one of max_…")
            raise InvalidInput("the body names no limit; send at least one max_… field", errors=(missing,))
        async with self._database.as_staff(principal.user_id) as tx:
            license_ = await repository.lock(tx, license_id)
            before = {name: getattr(license_, name) for name in after}
            set_overrides(license_, await repository.plan_of(tx, license_), after)
            said = order.said.detail
            await tx.audit("license.limits_set", "license", license_id, before=before, after=after, **said)
            await tx.session.flush()
            row = await repository.one_for_staff(tx, license_id)
        return _for_staff(row, self._clock())

    async def change(self, principal: Principal, license_id: UUID, order: ChangeLicense) -> AdminLicenseView:
        """Sets the fingerprint policy. Effective once the change is projected to Redis."""
        policy = order.fingerprint_policy
        if policy is msgspec.UNSET:
            missing = FieldError("body", "needs fingerprint_policy")
            raise InvalidInput("the body changes nothing; send fingerprint_policy", errors=(missing,))
        now = self._clock()
        async with self._database.as_staff(principal.user_id) as tx:
            license_ = await repository.lock(tx, license_id)
            before = license_.fingerprint_policy
            if policy is not before:
                license_.fingerprint_policy = policy
                license_.updated_at = now
                told = {"before": before, "after": policy, **order.said.detail}
                await tx.audit("license.fingerprint_policy_set", "license", license_id, **told)
                await tx.session.flush()
            row = await repository.one_for_staff(tx, license_id)
        return _for_staff(row, now)

    async def extend(
        self, principal: Principal, license_id: UUID, order: ExtendLicense, once: Once
    ) -> Replayable[AdminLicenseView]:
        """Sets a later end than the paid period's. Renewal and cancellation of the subscription keep it."""
        now = self._clock()
        async with self._database.as_staff(principal.user_id) as tx:
            if stored := await once.claim(tx, AdminLicenseView):
                return stored
            license_ = await repository.lock(tx, license_id)
            before = license_.expiry_date
            _require_later(order.expiry_date, before, now)
            words = StaffReason(license_.status_reason, license_.status_message)
            await change_standing(tx, license_, Event.EXTENDED_BY_ADMIN, words, now)
            license_.expiry_date = license_.extended_until = order.expiry_date
            license_.updated_at = now
            after, said = order.expiry_date, order.said.detail
            await tx.audit("license.extended", "license", license_id, before=before, after=after, **said)
            await tx.session.flush()
            row = await repository.one_for_staff(tx, license_id)
            return await once.record(tx, _for_staff(row, now))

    async def retry_provisioning(self, principal: Principal, license_id: UUID) -> AdminLicenseView:
        """Retries an account that NextPanel refused, with the same idempotency key."""
        async with self._database.as_staff(principal.user_id) as tx:
            license_ = await repository.lock(tx, license_id)
            if license_.provisioning is ProvisioningState.DONE:
                raise Conflict("the license has a NextPanel account already; there is nothing to retry")
            license_.provisioning = ProvisioningState.PENDING
            license_.provisioning_error = None
            await tx.enqueue(Provision(license_id))
            await tx.audit("license.provisioning_retried", "license", license_id)
            await tx.session.flush()
            row = await repository.one_for_staff(tx, license_id)
        return _for_staff(row, self._clock())

    async def _move(self, principal: Principal, license_id: UUID, event: Event, said: StaffReason) -> AdminLicenseView:
        async with self._database.as_staff(principal.user_id) as tx:
            license_ = await repository.lock(tx, license_id)
            before = license_.status
            await change_standing(tx, license_, event, said, self._clock())
            await tx.audit(f"license.{event.name.lower()}", "license", license_id, before=before, **said.detail)
            await tx.session.flush()
            row = await repository.one_for_staff(tx, license_id)
        return _for_staff(row, self._clock())


def _require_later(wanted: datetime, present: datetime | None, now: datetime) -> None:
    if present is None:
        raise Conflict("this license has no end, so it cannot be extended")
    if wanted <= max(present, now):
        told = "must be later than now" if wanted <= now else f"must be later than the present end, {rfc3339(present)}"
        raise InvalidInput(f"expiry_date {told}", errors=(FieldError("expiry_date", told),))


def _for_staff(row: ForStaff, now: datetime) -> AdminLicenseView:
    return AdminLicenseView.of_row(row, now)
