"""Verification of the second factor, for sign-in, step-up and enrollment.

A file of its own because it is no use case: it works in the caller's transaction. It returns a refusal and does not
raise it, because an exception inside the transaction would undo the count of the failure.

A wrong code counts against the account, not against a session or an address. So neither a new sign-in nor another
machine gives more tries. An attacker who knows the password can therefore block the owner's app for a while. Recovery
codes are not counted, so the owner can still sign in with one.
"""

from datetime import datetime
from uuid import UUID

from billing_api.identity.second_factor import recovery_codes, repository, totp
from billing_api.identity.second_factor.notices import mail_recovery_code_used
from billing_api.identity.second_factor.schemas import FactorProof
from core.counted import counted
from core.errors import InvalidSecondFactor, Refusal, TooManyRequests
from core.settings import Secrets
from db.models.identity import TotpFactor
from db.unit_of_work import SystemTransaction


async def fault_of_proof(
    tx: SystemTransaction, secrets: Secrets, user_id: UUID, proof: FactorProof, now: datetime
) -> Refusal | None:
    """None where the proof is right, which uses it up. The caller raises the refusal after the commit."""
    factor = await repository.lock_factor(tx, user_id)
    if factor is None or factor.confirmed_at is None:
        return InvalidSecondFactor()
    if proof.recovery_code is not None:
        return await _fault_of_recovery_code(tx, secrets, factor, proof.recovery_code, now)
    return await fault_of_code(tx, secrets, factor, proof.code or "", now)


async def fault_of_code(
    tx: SystemTransaction, secrets: Secrets, factor: TotpFactor, code: str, now: datetime
) -> Refusal | None:
    """The caller has locked `factor`."""
    if factor.blocked_until is not None and now < factor.blocked_until:
        return _blocked(factor.blocked_until, now)
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
    return _blocked(factor.blocked_until, now)


async def _fault_of_recovery_code(
    tx: SystemTransaction, secrets: Secrets, factor: TotpFactor, code: str, now: datetime
) -> Refusal | None:
    code_hash = recovery_codes.stored_hash(code, factor.user_id, secrets.index)
    if not await repository.spend_recovery_code(tx, factor.user_id, code_hash, now):
        return InvalidSecondFactor()
    factor.failures, factor.blocked_until = 0, None
    left = await repository.recovery_codes_left(tx, factor.user_id)
    await tx.audit("second_factor.recovery_code_used", "user", factor.user_id, left=left)
    await mail_recovery_code_used(tx, secrets, factor.user_id, left, now)
    return None


def _blocked(until: datetime, now: datetime) -> TooManyRequests:
    seconds = max(1, int((until - now).total_seconds()) + 1)
    return TooManyRequests(
        f"too many wrong codes for this account: wait {counted(seconds, 'second')}, or use a recovery code",
        retry_after=seconds,
    )
