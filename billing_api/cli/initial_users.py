"""Initial users of an installation: its first administrator and, in the devstack, demo users.

Administrators are created here and not over HTTP, by an operator who can reach the database anyway. Every function is
idempotent.
"""

import getpass
import hmac
import sys
from typing import Final
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from billing_api.identity.accounts import repository
from billing_api.identity.accounts.registrations import check_choice
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.identity.credentials.repository import release_address, user_by_email
from billing_api.licensing.api_keys import repository as api_keys
from billing_api.licensing.api_keys.issuing import SECRET_CONTEXT
from core.clock import Clock
from core.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.settings import DemoSettings, Environment, Secrets
from db.models.identity import Role
from db.models.licensing import ApiKey
from db.unit_of_work import Database

PLATFORM_PERMISSIONS: Final = ("validate", "reserve", "usage", "lease")


async def create_admin(
    database: Database, passwords: Passwords, clock: Clock, *, email: str, password: str, full_name: str
) -> UUID:
    """A new administrator, whose address counts as proved. Conflict where the address has an account already."""
    with passwords.slot() as slot:
        await check_choice(slot, email, password, full_name)
        password_hash = await slot.hash(password)
    async with database.as_system() as tx:
        # A stranger who types an address into the form must not keep the operator from using it.
        await release_address(tx, email, clock())
        user = await repository.insert_user(
            tx,
            email=email,
            password_hash=password_hash,
            full_name=full_name,
            role=Role.ADMIN,
            email_verified_at=clock(),
        )
        if user is None:
            raise Conflict(f"{email} has an account already: add --promote to make it an administrator")
        await tx.audit("user.created", "user", user.id, role=Role.ADMIN.value, by="command line")
    return user.id


async def promote_to_admin(database: Database, *, email: str) -> bool:
    """False where the user is an administrator already. The password stays as it is."""
    async with database.as_system() as tx:
        user = await repository.lock_user(tx, email)
        if user is None:
            raise NotFound(f"{email} has no account: leave out --promote to create one")
        if user.email_verified_at is None or not user.is_active:
            raise Conflict(f"{email} is suspended, or its address is not verified: resume or verify it first")
        if user.role is Role.ADMIN:
            return False
        await tx.audit(
            "user.role_changed", "user", user.id, role=Role.ADMIN.value, was=user.role.value, by="command line"
        )
        user.role = Role.ADMIN
    return True


def ask_password() -> str:
    """Typed twice at a terminal, else the first line of standard input; never an argument, which `ps` would show."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise InvalidInput("the two passwords differ: type the same one twice")
    return password


async def ensure_demo_people(
    database: Database,
    passwords: Passwords,
    secrets: Secrets,
    clock: Clock,
    *,
    demo: DemoSettings,
    environment: Environment,
) -> None:
    """Makes the rows agree with `demo`: an admin, a customer, a platform key. Forbidden outside of the devstack."""
    if environment != "devstack":
        raise Forbidden(
            "demo users have well-known passwords: set NP_ENVIRONMENT=devstack, or create users of your own"
        )
    await _ensure_user(database, passwords, clock, *demo.admin, role=Role.ADMIN, full_name="Demo Admin")
    await _ensure_user(database, passwords, clock, *demo.customer, role=Role.CUSTOMER, full_name="Demo Customer")
    await _ensure_platform_key(database, secrets, *demo.platform_key)


async def _ensure_user(
    database: Database, passwords: Passwords, clock: Clock, email: str, password: str, *, role: Role, full_name: str
) -> None:
    async with database.as_system() as tx:
        known = await user_by_email(tx, email)
    if known is not None and known.role is role and await passwords.verify(password, known.password_hash):
        return
    columns = {"password_hash": await passwords.hash(password), "role": role, "email_verified_at": clock()}
    async with database.as_system() as tx:
        user = await repository.insert_user(tx, email=email, full_name=full_name, **columns)
        user = user or await repository.lock_user(tx, email)
        for name, value in columns.items():
            setattr(user, name, value)


async def _ensure_platform_key(database: Database, secrets: Secrets, key_id: str, secret: str) -> None:
    columns = {
        "key_hash": secrets.index.digest("api_secret", secret),
        "secret": secrets.sealer.seal(secret.encode(), context=SECRET_CONTEXT.format(key_id)),
    }
    row = {"key_id": key_id, "name": "devstack platform key", "permissions": list(PLATFORM_PERMISSIONS), **columns}
    async with database.as_system() as tx:
        await tx.session.execute(insert(ApiKey).values(row).on_conflict_do_nothing())
        for key in await api_keys.by_key_ids(tx, [key_id]):
            if not hmac.compare_digest(key.key_hash, columns["key_hash"]):
                key.key_hash, key.secret = columns["key_hash"], columns["secret"]
