"""Customers and staff for tests, signed in without the sign-in routes."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import insert, select

from billing_api.access.permissions import Principal
from billing_api.access.tokens import TokenIssuer
from billing_api.licensing.licenses.issuing import (
    Issued,
    Term,
    issue,
)
from core.clock import Clock
from core.ids import new_id
from core.settings import ApiSettings
from db.models.identity import (
    Role,
    Session,
    User,
)
from db.models.licensing import LicenseType, Plan
from db.unit_of_work import Database

Headers = dict[str, str]


class Desk:
    """Creates users and licenses in the database, and tokens for them."""

    def __init__(self, settings: ApiSettings, database: Database, clock: Clock) -> None:
        self.settings = settings
        self.database = database
        self.clock = clock
        self._tokens = TokenIssuer(settings.jwt_keys, clock)

    async def a_user(self, role: Role = Role.CUSTOMER, **changes: object) -> UUID:
        user_id = new_id()
        row = {
            "id": user_id,
            "email": f"{user_id.hex}@example.com",
            "password_hash": "unused",
            "full_name": "Ada Buyer",
            "role": role,
            "is_active": True,
            "email_verified_at": self.clock(),
        }
        async with self.database.as_system() as tx:
            await tx.session.execute(insert(User).values(row | changes))
        await self.a_session(user_id, id=user_id)
        return user_id

    async def a_session(self, user_id: UUID, **changes: object) -> UUID:
        """A user's first session has the user's id. It never expires, also if a test moves its clock."""
        now = self.clock()
        row = {
            "id": new_id(),
            "user_id": user_id,
            "refresh_hash": new_id().bytes,
            "rotated_at": now,
            "authenticated_at": now,
            "last_seen_at": now,
            "expires_at": now + timedelta(days=36_500),
        } | changes
        async with self.database.as_system() as tx:
            made = await tx.session.execute(insert(Session).values(row).returning(Session.id))
        return made.scalar_one()

    def signed_in(self, user_id: UUID, role: Role = Role.CUSTOMER, *, session_id: UUID | str | None = None) -> Headers:
        session = UUID(str(session_id)) if session_id else user_id
        token = self._tokens.issue(Principal(user_id, role, session, self.clock()))
        return {"Authorization": f"Bearer {token}"}

    def user_of(self, headers: Headers) -> UUID:
        return self._tokens.read(headers["Authorization"].removeprefix("Bearer ")).user_id

    async def a_customer(self) -> Headers:
        return self.signed_in(await self.a_user())

    async def staff(self, role: Role = Role.ADMIN) -> Headers:
        return self.signed_in(await self.a_user(role), role)

    async def a_license(self, user_id: UUID, plan: LicenseType = LicenseType.PROFESSIONAL) -> Issued:
        async with self.database.as_system() as tx:
            found = (await tx.session.execute(select(Plan).where(Plan.license_type == plan))).scalar_one()
            return await issue(tx, self.settings.secrets, user_id=user_id, plan=found, term=Term(self.clock()))
