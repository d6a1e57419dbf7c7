"""Gate (authentication and authorization) of each call: signature, API key, network, permission, rate limit.

Nothing of a body is decoded before this.
"""

from collections.abc import Sequence
from time import monotonic

import msgspec

from core.clock import unix_time
from core.counted import counted
from core.crypto.signature import Signature, SignatureDefect, SignatureReader, body_digest
from core.errors import NetworkNotAllowed, PermissionMissing, SignatureFault
from core.hotstore.functions import NotReady
from core.ip_addresses import Network, is_within
from core.licensing.record import Permission
from core.rate_limit import RateLimit
from validator.http.client_address import client_address
from validator.http.protocol import Request
from validator.http.rate_limit_headers import LimitReached, rate_limit_lines
from validator.store.keyring import KeyRing, OpenKey


class Caller(msgspec.Struct, gc=False):
    key: OpenKey
    signature: Signature
    now: float
    """Unix seconds."""
    at: float
    """The same instant, monotonic."""
    stale: bool = False
    """The key could not be looked up again, so its answers are stale, too."""

    def may_ask_about(self, h: str) -> bool:
        bound_to = self.key.license_hash
        return bound_to is None or bound_to == h


class Gate:
    def __init__(self, api_keys: KeyRing, limit: RateLimit, proxies: Sequence[Network]) -> None:
        """`proxies`: the proxies of ours, which are believed in where a request comes from."""
        self._api_keys = api_keys
        self._limit = limit
        self._proxies = proxies
        self._headers = SignatureReader()

    def recognize(self, request: Request, permission: Permission, digest: bytes | None = None) -> Caller | None:
        """The caller, if the API key is in memory and believed; None where it must be looked up with `admit`.

        `digest`: the body's, where it is known already. Raises SignatureFault, NetworkNotAllowed or PermissionMissing.
        """
        now, at = unix_time(), monotonic()
        signature = self._headers.read(request.signature, now)
        if not isinstance(signature, Signature):
            raise SignatureFault(signature)
        key = self._api_keys.peek(signature.key_id, at)
        if key is None:
            return None
        self._check(request, signature, key, permission, now, body_digest(request.body) if digest is None else digest)
        return Caller(key, signature, now, at)

    async def admit(self, request: Request, permission: Permission) -> Caller:
        """The caller. Raises as `recognize` does, and NotReady where the API key cannot be looked up."""
        now = unix_time()
        signature = self._headers.read(request.signature, now)
        if not isinstance(signature, Signature):
            raise SignatureFault(signature)
        key, stale = await self._api_keys.find(signature.key_id)
        self._check(request, signature, key, permission, now, body_digest(request.body), stale=stale)
        return Caller(key, signature, now, monotonic(), stale)

    def charge(self, caller: Caller, number: int = 1) -> bytes:
        """Counts requests of a license's own key; platform keys have no limit.

        Returns the rate limit headers, each with its line end in front.
        """
        license_hash = caller.key.license_hash
        if license_hash is None:
            return b""
        allowance = self._limit.take(license_hash, number, caller.at)
        if not allowance.allowed:
            detail = f"a license may make {counted(round(self._limit.rate), 'request')} a second: wait for Retry-After"
            raise LimitReached(detail, allowance, self._limit, "license")
        return rate_limit_lines(self._limit, allowance.remaining)

    def _check(
        self,
        request: Request,
        signature: Signature,
        key: OpenKey,
        permission: Permission,
        now: float,
        digest: bytes,
        *,
        stale: bool = False,
    ) -> None:
        # Without a live key the answer is 401, unless the key may exist and be missing here.
        verifier = key.verifier
        if verifier is None or now >= key.live_until:
            if not self._api_keys.denies(key, stale=stale):
                raise NotReady("the API key is not known here yet: try again")
            raise SignatureFault(SignatureDefect.UNKNOWN_KEY)
        # The signature is made with the present secret, or with the previous one during a rotation.
        idempotency_key = request.headers.get(b"idempotency-key", b"")
        if not verifier.holds(signature, request.method, request.target, idempotency_key, digest):
            signed = (signature, request.method, request.target, idempotency_key, digest)
            if key.previous is None or now >= key.previous_until or not key.previous.holds(*signed):
                if not self._api_keys.denies(key, stale=stale):
                    raise NotReady("the API key may have a new secret that is not known here yet: try again")
                raise SignatureFault(SignatureDefect.MISMATCH)
        if key.networks is not None:
            self._check_network(request, key, key.networks, stale=stale)
        if permission not in key.permissions:
            raise PermissionMissing(f"the API key lacks the permission `{permission}`")

    def _check_network(self, request: Request, key: OpenKey, networks: Sequence[Network], *, stale: bool) -> None:
        """After the signature: a stranger does not learn that the key exists."""
        address = client_address(request, self._proxies)
        if is_within(address, networks):
            return
        if not self._api_keys.denies(key, stale=stale):
            raise NotReady("the API key may have other networks that are not known here yet: try again")
        raise NetworkNotAllowed(address, "this API key")
