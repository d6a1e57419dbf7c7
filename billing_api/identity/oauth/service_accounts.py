"""Service accounts: programs of the seller's own, which act as themselves within scopes of staff.

    create_service_account      an administrator, after a step-up, or an operator on the command line
    POST oauth/token            id and secret → an access token of a quarter of an hour
    each call                   the account is looked up, so what was revoked or taken away is refused at once

A file of its own beside service.py: no customer owns these accounts, so other people manage them, and another table
holds them. No scope makes a service account, a key or a user, so a leaked secret cannot make itself a successor.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from billing_api.access.networks import normalized
from billing_api.access.permissions import Principal, StaffScope, service_account_principal
from billing_api.access.tokens import ServiceAccountToken, TokenIssuer
from billing_api.identity.oauth import service_account_repository as repository
from billing_api.identity.oauth.client_secrets import authenticated, stored_hash
from billing_api.identity.oauth.schemas import TokenGranted
from billing_api.identity.oauth.service_account_schemas import (
    PREFIX,
    ChangeServiceAccount,
    NewServiceAccount,
    RotateSecret,
    ServiceAccountSecret,
    ServiceAccountView,
    known,
)
from billing_api.identity.oauth.token_request import TokenError, TokenRefused, TokenRequest, granted_scopes
from billing_api.identity.sessions import repository as sessions
from core.clock import Clock
from core.errors import Conflict, InvalidToken, NetworkNotAllowed, Unauthenticated
from core.ids import new_id, new_token
from core.ip_addresses import is_within, network
from core.settings import Secrets
from db.idempotency import Once, Replayable
from db.models.identity import ServiceAccount
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database, SystemTransaction

_WHAT = "this service account"


class ServiceAccountAdministration:
    """Administrators list, create, change, rotate and revoke."""

    def __init__(self, database: Database, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock

    async def page(self, principal: Principal, paging: Paging) -> Page[ServiceAccountView]:
        now = self._clock()
        async with self._database.as_staff(principal.user_id) as tx:
            found = await fetch_page(tx.session, repository.every(), repository.NEWEST_FIRST, paging)
        return found.page(ServiceAccountView.of(row, now) for row in found.rows)

    async def create(
        self, principal: Principal, order: NewServiceAccount, once: Once
    ) -> Replayable[ServiceAccountSecret]:
        now = self._clock()
        async with self._database.as_system(principal.user_id) as tx:
            # The secret outlives the sign-in that makes it, so a sign-in that ends meanwhile must make none.
            await repository.lock_administrator(tx, principal.user_id)
            role = await sessions.live_role(tx, principal.session_id, principal.user_id, now)
            if role is not principal.role:
                raise Unauthenticated("this sign-in has ended: sign in again with POST auth/login")
            if stored := await once.claim(tx, ServiceAccountSecret):
                return stored
            row, secret = await create_service_account(tx, self._secrets, order)
            return await once.record(tx, ServiceAccountSecret(ServiceAccountView.of(row, now), secret))

    async def change(self, principal: Principal, account_id: UUID, order: ChangeServiceAccount) -> ServiceAccountView:
        """Sets what the order names; the same order twice changes nothing."""
        wanted = _wanted(order)
        async with self._database.as_system(principal.user_id) as tx:
            account = await _lock_live(tx, account_id)
            before = {name: getattr(account, name) for name in wanted}
            if before != wanted:
                for name, value in wanted.items():
                    setattr(account, name, value)
                await _audit(tx, "changed", account, before=before, after=wanted)
        return ServiceAccountView.of(account, self._clock())

    async def rotate(
        self, principal: Principal, account_id: UUID, order: RotateSecret, once: Once
    ) -> Replayable[ServiceAccountSecret]:
        """A new secret. The present one stays valid for the overlap; an older one ends now."""
        now, overlap = self._clock(), timedelta(seconds=order.overlap_seconds)
        async with self._database.as_system(principal.user_id) as tx:
            account = await _lock_live(tx, account_id)
            if stored := await once.claim(tx, ServiceAccountSecret):
                return stored
            secret = _new_secret()
            account.previous_hash = account.secret_hash if overlap else None
            account.previous_until = now + overlap if overlap else None
            account.secret_hash = stored_hash(self._secrets, secret)
            await _audit(tx, "rotated", account, overlap_seconds=order.overlap_seconds)
            return await once.record(tx, ServiceAccountSecret(ServiceAccountView.of(account, now), secret))

    async def revoke(self, principal: Principal, account_id: UUID) -> None:
        """Permanent and idempotent. Needs no step-up, because it is how harm is stopped."""
        async with self._database.as_system(principal.user_id) as tx:
            account = await repository.lock(tx, account_id)
            if account.revoked_at is None:
                account.revoked_at = self._clock()
                account.previous_hash = account.previous_until = None
                await _audit(tx, "revoked", account)


class ServiceAccountTokens:
    """Issues tokens for an account's credentials, and finds the principal of such a token."""

    def __init__(self, database: Database, *, tokens: TokenIssuer, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._tokens = tokens
        self._secrets = secrets
        self._clock = clock

    async def grant(self, request: TokenRequest, address: str) -> TokenGranted:
        """TokenRefused says what is wrong; of the network only to those who know the secret."""
        account_id, found, now = _as_id(request.client_id), None, self._clock()
        async with self._database.as_system() as tx:
            if account_id is not None:
                found = await repository.with_hashes(tx, account_id)
            account = authenticated(found, stored_hash(self._secrets, request.client_secret), now)
            if not _may_come_from(address, account.networks):
                raise TokenRefused(TokenError.UNAUTHORIZED_CLIENT, NetworkNotAllowed(address, _WHAT).detail)
            scopes = granted_scopes(request, known(account.scopes))
            await repository.note_use(tx, account.id, account.last_used_at, address, now)
        token = ServiceAccountToken(account.id, frozenset(map(StaffScope, scopes)))
        return TokenGranted(self._tokens.issue_to_service_account(token), " ".join(sorted(scopes)))

    async def principal(self, token: ServiceAccountToken, address: str) -> Principal:
        """InvalidToken where the account is revoked; NetworkNotAllowed where it may not be used from there."""
        async with self._database.as_system() as tx:
            found = await repository.rights(tx, token.account_id)
            if found is None:
                raise InvalidToken("this service account is revoked: get a token of another one with POST oauth/token")
            if not _may_come_from(address, found.networks):
                raise NetworkNotAllowed(address, _WHAT)
            await repository.note_use(tx, token.account_id, found.last_used_at, address, self._clock())
        return service_account_principal(token.account_id, token.scopes.intersection(known(found.scopes)))


async def create_service_account(
    tx: SystemTransaction, secrets: Secrets, order: NewServiceAccount, **told: str
) -> tuple[Any, str]:
    """The row and the secret in plain text. `told`: more details for the audit trail.

    InvalidInput where a network is none, Conflict where the name is taken.
    """
    secret, scopes, networks = _new_secret(), sorted(set(order.scopes)), normalized(order.networks)
    columns = {"name": order.name, "scopes": scopes, "networks": networks, "secret_hash": stored_hash(secrets, secret)}
    row = await repository.add(tx, id=new_id(), **columns)
    if row is None:
        raise Conflict("a live service account has this name: choose another, or revoke that one first")
    await _audit(tx, "created", row, scopes=scopes, networks=networks, **told)
    return row, secret


async def _lock_live(tx: SystemTransaction, account_id: UUID) -> ServiceAccount:
    account = await repository.lock(tx, account_id)
    if account.revoked_at is not None:
        raise Conflict("this service account is revoked; create a new one")
    return account


async def _audit(tx: SystemTransaction, what: str, account: Any, **detail: Any) -> None:
    await tx.audit(f"service_account.{what}", "service_account", account.id, name=account.name, **detail)


def _wanted(order: ChangeServiceAccount) -> dict[str, Any]:
    """Columns and their new values, in the form in which they are stored."""
    wanted: dict[str, Any] = {}
    if order.scopes is not msgspec.UNSET:
        wanted["scopes"] = sorted(set(order.scopes))
    if order.networks is not msgspec.UNSET:
        wanted["networks"] = normalized(order.networks)
    return wanted


def _may_come_from(address: str, networks: Collection[str]) -> bool:
    return not networks or is_within(address, [network(text) for text in networks])


def _new_secret() -> str:
    """The prefix lets secret scanners find a leaked one in repositories and logs."""
    return f"npss_{new_token()}"


def _as_id(client_id: str) -> UUID | None:
    try:
        return UUID(hex=client_id.removeprefix(PREFIX))
    except ValueError:
        return None
