"""Time-based one-time passwords (TOTP, RFC 6238): the codes of an authenticator app, and which of them are accepted.

    step = floor(unix time / 30)      code = the last six digits of HOTP(secret, step), with HMAC-SHA1 (RFC 4226)

A phone's clock may be a little off, and typing takes a moment. So the steps before and after the present one are
accepted too (RFC 6238, 5.2). Each step is accepted once, and none before one that was accepted, so that a code which an
attacker saw cannot be used again. The caller stores the newest accepted step and passes it as `after`.

Six digits can be guessed: a try hits one of three codes among a million. The number of tries makes that hopeless
(`pause_after`): forty in two days, then five a day. That gives even odds after more than a century. Each success of the
owner resets the count. Against an owner who signs in daily an attacker has thirty tries a day: a chance of 3 % a year.
Only an attacker who knows the password is asked for a code at all.
"""

import hmac
import io
from datetime import datetime, timedelta
from typing import Final

import pyotp
import segno

from core.crypto.sealing import Sealer

ISSUER: Final = "NextPanel"
TRIES: Final = 5
"""Wrong codes in a row before a pause."""

_STEP_SECONDS: Final = 30
_EITHER_SIDE: Final = 1
_FIRST_PAUSE: Final = timedelta(minutes=15)
_LONGEST_PAUSE: Final = timedelta(days=1)
_DOUBLINGS: Final = 7  # 15 minutes, doubled seven times, are more than a day


def new_secret() -> str:
    """160 bits, as RFC 4226 recommends, in base32, which apps accept when it is typed."""
    return pyotp.random_base32(32)


def step_of(now: datetime) -> int:
    return int(now.timestamp()) // _STEP_SECONDS


def code_at(secret: str, step: int) -> str:
    return pyotp.HOTP(secret).at(step)


def accepted_step(secret: str, code: str, now: datetime, *, after: int | None) -> int | None:
    """The step of this code, later than `after`; None where the code is not accepted."""
    middle, found = step_of(now), None
    for step in range(middle - _EITHER_SIDE, middle + _EITHER_SIDE + 1):
        # All candidates are compared in constant time, so that the time shows nothing.
        is_equal = hmac.compare_digest(code_at(secret, step).encode(), code.encode())
        if is_equal and found is None and (after is None or step > after):
            found = step
    return found


def pause_after(failures: int) -> timedelta | None:
    """The pause after that many failures in a row; None where there is none. Each fifth failure doubles the pause."""
    if failures == 0 or failures % TRIES:
        return None
    doubled: int = 2 ** min(failures // TRIES - 1, _DOUBLINGS)
    return min(_FIRST_PAUSE * doubled, _LONGEST_PAUSE)


def enrollment_uri(secret: str, *, account: str) -> str:
    """The `otpauth:` address that apps read (Google Authenticator's Key Uri Format)."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=ISSUER)


def qr_svg(text: str) -> str:
    """A QR code as one SVG element without a size, so that the page can scale it."""
    image = io.BytesIO()
    segno.make_qr(text, error="m").save(image, kind="svg", xmldecl=False, omitsize=True, light="white")
    return image.getvalue().decode()


def sealed_secret(sealer: Sealer, secret: str, *, user_id: object) -> bytes:
    return sealer.seal(secret.encode(), context=_context(user_id))


def opened_secret(sealer: Sealer, sealed: bytes, *, user_id: object) -> str:
    return sealer.open(sealed, context=_context(user_id)).decode()


def _context(user_id: object) -> str:
    return f"totp_factors.secret:{user_id}"
