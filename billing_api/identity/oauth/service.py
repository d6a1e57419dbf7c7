"""OAuth clients: customers create, rotate and revoke them; the clients get access tokens for their credentials.

A token names its client, not the user that the client acts for: each use looks the client up. So a revoked client, or
one of a suspended owner, is refused at once, and its tokens are useless from then on.
"""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from billing_api.access.permissions import Principal, Scope, client_principal
from billing_api.access.tokens import ClientToken, TokenIssuer
from billing_api.identity.oauth import repository, token_request
from billing_api.identity.oauth.client_secrets import authenticated, stored_hash
from billing_api.identity.oauth.schemas import ClientIssued, ClientView, NewClient, TokenGranted, facts_of
from billing_api.identity.oauth.service_account_schemas import PREFIX
from billing_api.identity.oauth.service_accounts import ServiceAccountTokens
from billing_api.identity.oauth.token_request import TokenRequest
from billing_api.identity.sessions import repository as sessions
from billing_api.notifications.mails.security_notices import Made, tell_of_oauth_client
from core.clock import Clock
from core.errors import Conflict, InvalidToken, NotFound, Unauthenticated
from core.ids import new_id, new_token
from core.settings import Secrets
from db.idempotency import Once, Replayable
from db.models.identity import OAuthClient
from db.paging import Page, Paging
from db.reads import CustomerReads
from db.unit_of_work import Database, SystemTransaction

MOST_CLIENTS: Final = 20
"""The most live clients of one customer."""


class OAuthClientService:
    """A customer's own clients: list, create, rotate, revoke."""

    def __init__(self, database: Database, reads: CustomerReads, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._reads = reads
        self._secrets = secrets
        self._clock = clock

    async def page(self, principal: Principal, paging: Paging) -> Page[ClientView]:
        found = await repository.OWN_LIVE.page(self._reads, principal.user_id, paging)
        return found.page(map(ClientView.of, found.rows))

    async def create(
        self, principal: Principal, order: NewClient, once: Once, *, request_id: str
    ) -> Replayable[ClientIssued]:
        client_id, secret = new_id(), new_token()
        columns = {"name": order.name, "scopes": sorted(set(order.scopes)), "secret_hash": self._hash(secret)}
        async with self._database.as_system(principal.user_id, request_id) as tx:
            if stored := await once.claim(tx, ClientIssued):
                return stored
            count = await repository.count_live(tx, principal.user_id)
            if count is None:
                raise Unauthenticated("this account is not active any more: write to support")
            # Check the session again under the owner's lock: access revocation ends sessions and clients under it.
            if await sessions.live_role(tx, principal.session_id, principal.user_id, self._clock()) is None:
                raise Unauthenticated("this sign-in has ended: sign in again with POST auth/login")
            if count >= MOST_CLIENTS:
                raise Conflict(f"you have {MOST_CLIENTS} clients, the most that are allowed: revoke one that is unused")
            row = await repository.add(tx, id=client_id, user_id=principal.user_id, **columns)
            await tx.audit("oauth_client.created", "oauth_client", client_id, scopes=columns["scopes"])
            await self._tell(tx, principal, row, "made")
            return await once.record(tx, _issued(row, secret))

    async def rotate(
        self, principal: Principal, client_id: UUID, *, overlap: timedelta, request_id: str
    ) -> ClientIssued:
        """A new secret. The previous one stays valid for `overlap`; an older one ends now."""
        secret, until = new_token(), self._clock() + overlap
        async with self._database.as_system(principal.user_id, request_id) as tx:
            row = await repository.rotate(
                tx, client_id, principal.user_id, secret_hash=self._hash(secret), previous_until=until
            )
            if row is None:
                raise NotFound("there is no such client: list your clients with GET me/oauth-clients")
            await tx.audit("oauth_client.rotated", "oauth_client", client_id, previous_until=until.isoformat())
            await self._tell(tx, principal, row, "rotated")
        return _issued(row, secret)

    async def revoke(self, principal: Principal, client_id: UUID, *, request_id: str) -> None:
        async with self._database.as_customer(principal.user_id, request_id) as tx:
            if not await repository.revoke(tx, client_id, self._clock()):
                raise NotFound("there is no such client: list your clients with GET me/oauth-clients")
            await tx.audit("oauth_client.revoked", "oauth_client", client_id)

    async def _tell(self, tx: SystemTransaction, principal: Principal, row: Any, how: Made) -> None:
        now = self._clock()
        await tell_of_oauth_client(
            tx, self._secrets, principal.user_id, now, client_id=row.id, scopes=row.scopes, how=how
        )

    def _hash(self, secret: str) -> bytes:
        return stored_hash(self._secrets, secret)


class ClientTokens:
    """Issues tokens for client credentials, and finds the principal of such a token."""

    def __init__(
        self,
        database: Database,
        *,
        tokens: TokenIssuer,
        service_accounts: ServiceAccountTokens,
        secrets: Secrets,
        clock: Clock,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._service_accounts = service_accounts
        self._secrets = secrets
        self._clock = clock

    async def grant(self, request: TokenRequest, address: str) -> TokenGranted:
        """TokenRefused says what is wrong. Of wrong credentials it does not say which part is wrong.

        The client's id says of which kind it is.
        """
        if request.client_id.startswith(PREFIX):
            return await self._service_accounts.grant(request, address)
        client = await self._authenticated(request)
        scopes = token_request.granted_scopes(request, client.scopes)
        token = self._tokens.issue_to_client(ClientToken(client.id, frozenset(map(Scope, scopes))))
        return TokenGranted(token, " ".join(sorted(scopes)))

    async def principal(self, token: ClientToken) -> Principal:
        """The user that the client acts for. InvalidToken where the client is revoked or its owner suspended."""
        async with self._database.as_system() as tx:
            found = await repository.owner_and_scopes(tx, token.client_id)
        if found is None:
            raise InvalidToken("this client is revoked, or its owner's account is closed: use another client")
        owner_id, scopes = found
        return client_principal(token.client_id, owner_id, token.scopes & frozenset(map(Scope, scopes)))

    async def _authenticated(self, request: TokenRequest) -> OAuthClient:
        client = None
        client_id = _as_id(request.client_id)
        if client_id is not None:
            async with self._database.as_system() as tx:
                client = await repository.with_hashes(tx, client_id)
        offered = stored_hash(self._secrets, request.client_secret)
        return authenticated(client, offered, self._clock())


def _issued(row: Any, secret: str) -> ClientIssued:
    return ClientIssued(**facts_of(row), client_secret=secret)


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
