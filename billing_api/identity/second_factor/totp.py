"""Time-based one-time passwords (RFC 6238): what an authenticator app shows, and which of it is taken.

    step = floor(unix time / 30)      code = the last six digits of HOTP(secret, step), with HMAC-SHA1 (RFC 4226)

A phone's clock is a little off, and a code takes a moment to type: the steps before and after the present one count as
well (RFC 6238, 5.2). Each step counts once, and none before one that has counted: who reads a code over a shoulder, or
off the wire, comes second. The caller stores the newest step that was used and says it as `after`.

Six digits can be guessed: a try hits one of three codes among a million. What keeps that from being worth it is how few
tries there are (`pause_after`): forty in two days, then five a day, which is even odds after more than a century. Each
success of the owner's forgives what went before, so against one who signs in daily it is thirty a day: 3 % a year. And
only an attacker who knows the password already is asked for a code.
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
"""In a row; then a pause."""

_STEP_SECONDS: Final = 30
_EITHER_SIDE: Final = 1
_FIRST_PAUSE: Final = timedelta(minutes=15)
_LONGEST_PAUSE: Final = timedelta(days=1)
_DOUBLINGS: Final = 7  # 15 minutes doubled so often are more than a day


def new_secret() -> str:
    """160 bits, as RFC 4226 recommends, in base32, as apps take it when it is typed."""
    return pyotp.random_base32(32)


def step_of(now: datetime) -> int:
    return int(now.timestamp()) // _STEP_SECONDS


def code_at(secret: str, step: int) -> str:
    return pyotp.HOTP(secret).at(step)


def accepted_step(secret: str, code: str, now: datetime, *, after: int | None) -> int | None:
    """The step this code belongs to, later than `after`; None where it belongs to none that may count."""
    middle, found = step_of(now), None
    for step in range(middle - _EITHER_SIDE, middle + _EITHER_SIDE + 1):
        # Each candidate is compared in full, the right one or not: the time taken tells nothing.
        fits = hmac.compare_digest(code_at(secret, step).encode(), code.encode())
        if fits and found is None and (after is None or step > after):
            found = step
    return found


def pause_after(failures: int) -> timedelta | None:
    """How long nobody may try after that many failures in a row: each fifth closes for twice as long as the last."""
    if failures == 0 or failures % TRIES:
        return None
    doubled: int = 2 ** min(failures // TRIES - 1, _DOUBLINGS)
    return min(_FIRST_PAUSE * doubled, _LONGEST_PAUSE)


def enrollment_uri(secret: str, *, account: str) -> str:
    """The `otpauth:` address that apps read (Google Authenticator's Key Uri Format)."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=ISSUER)


def qr_svg(text: str) -> str:
    """A QR code as one SVG element without a size of its own: the page that shows it says how big it is."""
    image = io.BytesIO()
    segno.make_qr(text, error="m").save(image, kind="svg", xmldecl=False, omitsize=True, light="white")
    return image.getvalue().decode()


def sealed_secret(sealer: Sealer, secret: str, *, user_id: object) -> bytes:
    return sealer.seal(secret.encode(), context=_context(user_id))


def opened_secret(sealer: Sealer, sealed: bytes, *, user_id: object) -> str:
    return sealer.open(sealed, context=_context(user_id)).decode()


def _context(user_id: object) -> str:
    return f"totp_factors.secret:{user_id}"
