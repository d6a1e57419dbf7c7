"""Verification of the second factor: used by sign-in, by step-up and at enrollment alike.

A file of its own because it is no use case: it works in the transaction of its caller. A refusal is answered and not
raised here: a failure has to be counted, and what is raised inside a transaction undoes it.

A wrong code counts against the account, not against a session or an address, so that neither a new sign-in nor another
machine buys further tries. A thief of the password can thereby keep the owner's app out for a while; recovery codes are
subject to no count and let the owner in all the same.
"""

from datetime import datetime
from uuid import UUID

from billing_api.identity.second_factor import recovery_codes, repository, totp
from billing_api.identity.second_factor.schemas import FactorProof
from billing_api.identity.second_factor.telling import tell_of_recovery_code
from core.errors import InvalidSecondFactor, Refusal, TooManyRequests
from core.settings import Secrets
from db.models.identity import TotpFactor
from db.unit_of_work import SystemTransaction


async def fault_of_proof(
    tx: SystemTransaction, secrets: Secrets, user_id: UUID, proof: FactorProof, now: datetime
) -> Refusal | None:
    """None where the proof holds, which uses it up. The refusal is for the caller to raise when this has committed."""
    factor = await repository.lock_factor(tx, user_id)
    if factor is None or factor.confirmed_at is None:
        return InvalidSecondFactor()
    if proof.recovery_code is not None:
        return await _fault_of_recovery_code(tx, secrets, factor, proof.recovery_code, now)
    return await fault_of_code(tx, secrets, factor, proof.code or "", now)


async def fault_of_code(
    tx: SystemTransaction, secrets: Secrets, factor: TotpFactor, code: str, now: datetime
) -> Refusal | None:
    """`factor` is locked."""
    if factor.blocked_until is not None and now < factor.blocked_until:
        return _closed(factor.blocked_until, now)
    secret = totp.opened_secret(secrets.sealer, factor.secret, user_id=factor.user_id)
    step = totp.accepted_step(secret, code, now, after=factor.last_step)
    if step is not None and await repository.use_step(tx, factor.user_id, step):
        factor.failures, factor.blocked_until = 0, None
        return None
    factor.failures += 1
    pause = totp.pause_after(factor.failures)
    if pause is None:
        return InvalidSecondFactor()
    factor.blocked_until = now + pause
    await tx.audit("second_factor.blocked", "user", factor.user_id, failures=factor.failures)
    return _closed(factor.blocked_until, now)


async def _fault_of_recovery_code(
    tx: SystemTransaction, secrets: Secrets, factor: TotpFactor, code: str, now: datetime
) -> Refusal | None:
    code_hash = recovery_codes.stored_hash(code, factor.user_id, secrets.index)
    if not await repository.spend_recovery_code(tx, factor.user_id, code_hash, now):
        return InvalidSecondFactor()
    factor.failures, factor.blocked_until = 0, None
    left = await repository.recovery_codes_left(tx, factor.user_id)
    await tx.audit("second_factor.recovery_code_used", "user", factor.user_id, left=left)
    await tell_of_recovery_code(tx, secrets, factor.user_id, left, now)
    return None


def _closed(until: datetime, now: datetime) -> TooManyRequests:
    seconds = int((until - now).total_seconds()) + 1
    return TooManyRequests(
        "too many wrong codes for this account: wait, or use a recovery code", retry_after=max(1, seconds)
    )
