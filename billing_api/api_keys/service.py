"""Who signed a call: the check that stands before everything NextPanel sends to this API.

The validator checks the same signature (core/crypto/signature.py) against the copy of the key in Redis; here the key
comes from Postgres, where the report it covers is going too.
"""

from typing import Final, NamedTuple
from uuid import UUID

from billing_api.api_keys import repository
from core.clock import Clock, rfc3339
from core.crypto.signature import Fault, Signature, check_time, holds, parse
from core.errors import Forbidden, InvalidSignature
from core.settings import Secrets
from db.models.licensing import ApiKey
from db.unit_of_work import Database

SECRET_CONTEXT: Final = "api_key:{}"  # noqa: S105  names the place a sealed secret belongs to


class SignedRequest(NamedTuple):
    """The bytes that a signature covers, as they came."""

    signature: bytes | None
    method: bytes
    target: bytes
    idempotency_key: bytes
    body: bytes


class Signer(NamedTuple):
    """A call's sender: bound to one licence or, without one, the platform."""

    key_id: str
    license_id: UUID | None


class SignatureChecker:
    def __init__(self, database: Database, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock

    async def check(self, request: SignedRequest, permission: str) -> Signer:
        """InvalidSignature tells which check failed and this server's time; Forbidden, that the key may not do this."""
        now = self._clock()
        signature = parse(request.signature)
        if isinstance(signature, Fault):
            raise self._refusal(signature)
        if fault := check_time(signature, now.timestamp()):
            raise self._refusal(fault)
        async with self._database.as_system() as tx:
            key = await repository.by_key_id(tx, signature.key_id.decode())
        if key is None or not key.is_active or (key.expires_at is not None and key.expires_at <= now):
            raise self._refusal(Fault.UNKNOWN_KEY)
        if not any(self._fits(signature, secret, request) for secret in self._secrets_of(key)):
            raise self._refusal(Fault.MISMATCH)
        if permission not in key.permissions:
            raise Forbidden(f"this API key lacks the permission {permission!r}")
        return Signer(key.key_id, key.license_id)

    def _secrets_of(self, key: ApiKey) -> list[bytes]:
        """The current secret and, while one replaces the other, the previous one."""
        context = SECRET_CONTEXT.format(key.key_id)
        sealed = [key.secret]
        if key.previous_secret and key.previous_until and key.previous_until > self._clock():
            sealed.append(key.previous_secret)
        return [self._secrets.sealer.open(secret, context=context) for secret in sealed]

    def _fits(self, signature: Signature, secret: bytes, request: SignedRequest) -> bool:
        return holds(
            signature,
            secret,
            method=request.method,
            target=request.target,
            idempotency_key=request.idempotency_key,
            body=request.body,
        )

    def _refusal(self, fault: Fault) -> InvalidSignature:
        return InvalidSignature(f"{fault.value}; the server's time is {rfc3339(self._clock())}")
