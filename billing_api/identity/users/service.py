"""User administration: staff find users, suspend them, give them roles, and impersonate customers.

Each action is audited in its transaction and takes effect at once: the sessions of a suspended user end, and a token
with an old role is refused (billing_api/identity/sessions/liveness.py).
"""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.access.staff_reason import StaffReason
from billing_api.access.tokens import TokenIssuer
from billing_api.identity.sessions import repository as sessions
from billing_api.identity.sessions.liveness import Liveness
from billing_api.identity.users import repository
from billing_api.identity.users.schemas import AccountEvent, Impersonation, RoleGiven, UserStatus, UserView
from core.clock import Clock
from core.errors import Conflict, Forbidden
from db.models.identity import Role
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database


class UserAdministration:
    def __init__(self, database: Database, liveness: Liveness, tokens: TokenIssuer, clock: Clock) -> None:
        self._database = database
        self._liveness = liveness
        self._tokens = tokens
        self._clock = clock

    async def search(
        self,
        principal: Principal,
        paging: Paging,
        *,
        q: str | None,
        email: str | None,
        role: Role | None,
        status: UserStatus | None,
    ) -> Page[UserView]:
        standing = None if status is None else repository.AccountStanding(status == "active", status == "deleted")
        statement = repository.search(q=q, email=email, role=role, standing=standing)
        async with self._database.as_staff(principal.user_id) as tx:
            found = await fetch_page(tx.session, statement, repository.NEWEST_FIRST, paging)
        return found.page(UserView.of(row[0]) for row in found.rows)

    async def one(self, principal: Principal, user_id: UUID) -> UserView:
        async with self._database.as_staff(principal.user_id) as tx:
            return UserView.of(await repository.one(tx, user_id))

    async def suspend(self, principal: Principal, user_id: UUID, said: StaffReason) -> UserView:
        """The user is signed out everywhere when this returns. Licenses stay; other calls suspend them."""
        _refuse_self(principal, user_id, "suspend yourself")
        now = self._clock()
        async with self._liveness.revocation() as revocation, self._database.as_system(principal.user_id) as tx:
            user = await repository.lock_for_administration(tx, user_id)
            user.is_active = False
            ended = await sessions.end(tx, user_id, now)
            await tx.audit(repository.SUSPENDED, "user", user_id, **said.detail, sessions_ended=len(ended))
            view = UserView.of(await repository.written(tx, user))
            await revocation.fence(user_id)
        return view

    async def resume(self, principal: Principal, user_id: UUID, said: StaffReason) -> UserView:
        """The user may sign in again; ended sessions stay ended."""
        async with self._database.as_system(principal.user_id) as tx:
            user = await repository.lock_for_administration(tx, user_id)
            user.is_active = True
            await tx.audit(repository.RESUMED, "user", user_id, **said.detail)
            return UserView.of(await repository.written(tx, user))

    async def give_role(self, principal: Principal, user_id: UUID, order: RoleGiven) -> UserView:
        """The sessions stay live, but every access token with the old role has to be refreshed."""
        _refuse_self(principal, user_id, "change your own role")
        async with self._liveness.revocation() as revocation, self._database.as_system(principal.user_id) as tx:
            user = await repository.lock_for_administration(tx, user_id)
            if order.role is not Role.CUSTOMER and user.email_verified_at is None:
                raise Conflict("the user's e-mail address is not verified: let the user verify it first")
            facts = {"role": order.role.value, "was": user.role.value, **order.said.detail}
            user.role = order.role
            await tx.audit(repository.ROLE_CHANGED, "user", user_id, **facts)
            view = UserView.of(await repository.written(tx, user))
            await revocation.fence(user_id)
        return view

    async def impersonate(self, principal: Principal, user_id: UUID, said: StaffReason) -> Impersonation:
        """A short-lived token that reads what the customer sees. It names the actor; the customer sees the event."""
        async with self._database.as_system(principal.user_id) as tx:
            user = await repository.one(tx, user_id)
            if user.role is not Role.CUSTOMER:
                raise Forbidden("this user is a member of staff: impersonate customers only")
            if not user.is_active:
                raise Conflict(f"this user is {UserView.of(user).status}: only active users can be impersonated")
            await tx.audit(repository.IMPERSONATED, "user", user_id, **said.detail)
        customer = Principal(
            user_id, Role.CUSTOMER, principal.session_id, principal.authenticated_at, actor_id=principal.user_id
        )
        return Impersonation(self._tokens.issue(customer))


class AccountEvents:
    """For the owner of an account: what staff did to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, principal: Principal, paging: Paging) -> Page[AccountEvent]:
        # Customers may not read the audit trail itself, so the application reads it for them.
        async with self._database.as_system(principal.user_id) as tx:
            statement = repository.account_events(principal.user_id)
            found = await fetch_page(tx.session, statement, repository.LATEST_FIRST, paging)
        return found.page(AccountEvent.of(row[0]) for row in found.rows)


def _refuse_self(principal: Principal, user_id: UUID, what: str) -> None:
    if user_id == principal.user_id:
        raise Forbidden(f"you cannot {what}: ask another administrator")
