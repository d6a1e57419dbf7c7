"""Session creation: a sign-in opens a session with its first refresh token and an access token."""

import msgspec

from billing_api.access.caller import Caller
from billing_api.access.permissions import PASSWORD, Principal
from billing_api.access.tokens import TokenIssuer
from billing_api.identity.login_throttle.device import Devices
from billing_api.identity.sessions import refresh_tokens
from core.clock import Clock
from core.ids import new_id
from core.settings import Secrets
from db.models.identity import Session, User
from db.unit_of_work import SystemTransaction

_LONGEST_USER_AGENT = 200


class SignedIn(msgspec.Struct, frozen=True):
    """Both tokens of a sign-in or of a refresh. `device`: a new device cookie; None where the old one stays."""

    access_token: str
    refresh_token: str
    device: str | None = None


class SignIns:
    """Opens sessions, after all required factors have been proved."""

    def __init__(self, tokens: TokenIssuer, secrets: Secrets, clock: Clock) -> None:
        self._tokens = tokens
        self._index = secrets.index
        self._clock = clock
        self.devices = Devices(secrets.index)

    def open(
        self,
        tx: SystemTransaction,
        user: User,
        caller: Caller,
        *,
        amr: tuple[str, ...] = (PASSWORD,),
        device: str | None = None,
    ) -> SignedIn:
        """`amr`: the methods that were proved (RFC 8176)."""
        now, session_id = self._clock(), new_id()
        token = refresh_tokens.first(session_id, self._index)
        session = Session(
            id=session_id,
            user_id=user.id,
            refresh_hash=refresh_tokens.stored_hash(token, self._index),
            rotated_at=now,
            authenticated_at=now,
            amr=list(amr),
            expires_at=now + refresh_tokens.LIFETIME,
            user_agent=caller.user_agent and caller.user_agent[:_LONGEST_USER_AGENT],
            address=caller.address,
            last_seen_at=now,
        )
        tx.session.add(session)
        return self.pair(session, user, token, device=device)

    def pair(self, session: Session, user: User, refresh_token: str, *, device: str | None = None) -> SignedIn:
        principal = Principal(user.id, user.role, session.id, session.authenticated_at, amr=tuple(session.amr))
        return SignedIn(self._tokens.issue(principal), refresh_token, device)
