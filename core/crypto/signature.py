"""Request signatures (HMAC-SHA256) of NextPanel's calls: profile NPv1.

    NP-Signature: k=<key id>,t=<unix seconds>,n=<32 hex digits>,v1=<64 hex digits>
    v1 = HMAC-SHA256(secret, "NPv1" LF METHOD LF path[?query] LF t LF n LF idempotency-key LF hex(SHA-256(body)))

The idempotency key is empty where the header is absent. The secret is the UTF-8 text that was shown.
`t` may be 300 s in the past and 30 s in the future.
Everything that gives a request its meaning is signed, so a proxy may read a call but cannot change it.
Test vectors: docs/signature-vectors.json.
"""

import enum
import hashlib
import hmac
import re
import secrets
from typing import Final

import msgspec

from core.crypto.mac import Mac

HEADER: Final = "NP-Signature"
MAX_AGE: Final = 300
MAX_AHEAD: Final = 30

_TAIL_LENGTH: Final = len(",n=") + 32 + len(",v1=") + 64
_FRONT: Final = slice(None, -_TAIL_LENGTH)
_TAIL: Final = slice(-_TAIL_LENGTH, None)
_NONCE: Final = slice(-64 - len(",v1=") - 32, -64 - len(",v1="))
_V1: Final = slice(-64, None)
_SHAPE: Final = bytes.maketrans(b"0123456789abcdef", b"0" * 16)
_TAIL_SHAPE: Final = (b",n=" + b"0" * 32 + b",v1=" + b"0" * 64).translate(_SHAPE)
_MOST_FRONTS: Final = 4096

_FORM: Final = re.compile(rb"k=([A-Za-z0-9_\-]{1,64}),t=([0-9]{1,12}),n=([0-9a-f]{32}),v1=([0-9a-f]{64})")


class SignatureDefect(enum.Enum):
    """What is wrong with a signature; the value is told to the client."""

    MISSING = "the NP-Signature header is missing"
    MALFORMED = "NP-Signature must read k=<key id>,t=<unix seconds>,n=<32 hex digits>,v1=<64 hex digits>"
    UNKNOWN_KEY = "the key id is unknown, or its key was revoked or has expired: use a key that is active"
    TOO_OLD = "t is more than 300 s in the past: check the clock"
    IN_FUTURE = "t is more than 30 s in the future: check the clock"
    MISMATCH = "v1 is wrong: check the secret, the method, the path with its query, the Idempotency-Key and the body"


class Signature(msgspec.Struct, frozen=True, gc=False):
    """A parsed header; the parts are exactly the bytes that were sent, because they are signed."""

    key_id: bytes
    t: bytes
    nonce: bytes
    v1: bytes


def parse(header: bytes | None) -> Signature | SignatureDefect:
    if header is None:
        return SignatureDefect.MISSING
    match = _FORM.fullmatch(header)
    return Signature(*match.groups()) if match else SignatureDefect.MALFORMED


def check_time(signature: Signature, now: float) -> SignatureDefect | None:
    age = now - int(signature.t)
    if age > MAX_AGE:
        return SignatureDefect.TOO_OLD
    if age < -MAX_AHEAD:
        return SignatureDefect.IN_FUTURE
    return None


class SignatureReader:
    """Reads signature headers, with a cache for callers that come repeatedly.

    The part before the nonce (key id and time) is the same in all signatures of a key within a second. It is parsed
    once; for the rest only the shape is checked. `read` answers exactly what `parse` and then `check_time` would.
    """

    __slots__ = ("_fronts",)

    def __init__(self) -> None:
        self._fronts: dict[bytes, tuple[bytes, bytes, int]] = {}

    def read(self, header: bytes | None, now: float) -> Signature | SignatureDefect:
        if header is not None:
            front = self._fronts.get(header[_FRONT])
            if front is not None and header[_TAIL].translate(_SHAPE) == _TAIL_SHAPE:
                key_id, t, at = front
                if -MAX_AHEAD <= now - at <= MAX_AGE:
                    return Signature(key_id, t, header[_NONCE], header[_V1])
        signature = parse(header)
        if isinstance(signature, SignatureDefect) or header is None:
            return signature
        if len(self._fronts) >= _MOST_FRONTS:
            self._fronts.clear()
        self._fronts[header[_FRONT]] = (signature.key_id, signature.t, int(signature.t))
        return check_time(signature, now) or signature


class Verifier(Mac):
    """One secret, prepared to check many signatures."""

    __slots__ = ()

    def mac(self, method: bytes, target: bytes, t: bytes, nonce: bytes, idempotency_key: bytes, digest: bytes) -> str:
        """v1 in hex. `target` is the path with its query as it stands in the request line, `digest` the body's."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(b"NPv1\n%b\n%b\n%b\n%b\n%b\n%b" % (method, target, t, nonce, idempotency_key, digest))
        outer.update(inner.digest())
        return outer.hexdigest()

    def holds(self, signature: Signature, method: bytes, target: bytes, idempotency_key: bytes, digest: bytes) -> bool:
        """Compares in constant time."""
        mac = self.mac(method, target, signature.t, signature.nonce, idempotency_key, digest)
        return hmac.compare_digest(mac.encode(), signature.v1)


def body_digest(body: bytes) -> bytes:
    """SHA-256 in hex."""
    return hashlib.sha256(body).hexdigest().encode()


def holds(
    signature: Signature, secret: bytes, *, method: bytes, target: bytes, idempotency_key: bytes, body: bytes
) -> bool:
    """For a single check with this secret; for many checks keep a Verifier."""
    return Verifier(secret).holds(signature, method, target, idempotency_key, body_digest(body))


def sign(
    key_id: str, secret: str, *, method: str, target: str, body: bytes, now: float, idempotency_key: str = ""
) -> str:
    """The header's value for a request that is sent now, with a new nonce."""
    t, nonce = str(int(now)), secrets.token_hex(16)
    v1 = Verifier(secret.encode()).mac(
        method.encode(), target.encode(), t.encode(), nonce.encode(), idempotency_key.encode(), body_digest(body)
    )
    return f"k={key_id},t={t},n={nonce},v1={v1}"
