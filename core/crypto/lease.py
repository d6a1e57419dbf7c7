"""Signed tokens of leases: a compact JWS (RFC 7515) over a JSON object, signed with Ed25519 (RFC 8037).

    token = b64url({"alg":"EdDSA","kid":key id,"typ":"np-lease+jwt"}) "." b64url(claims) "." b64url(signature)

There is one algorithm and one type, so nothing is negotiated: a header that says anything else (`none`, a MAC, an
extension marked critical) is refused before a key is looked up. The type keeps a lease from being taken for an access
token, and an access token for a lease (RFC 8725, 3.11). Public keys are published as a JWK set (RFC 7517).

core/licensing/lease.py says what the claims mean.
"""

import base64
import enum
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

TYPE: Final = "np-lease+jwt"

_COMPACT: Final = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
_LONGEST: Final = 16_384


class LeaseDefect(enum.Enum):
    """Why a token is refused; the value is for people."""

    MALFORMED = "this is not a lease"
    UNKNOWN_KEY = "no known key has signed this lease"
    BAD_SIGNATURE = "the lease was altered, or another key signed it"


class _Header(msgspec.Struct, frozen=True):
    """`crit` names extensions that a reader must know, or refuse the token; we know none (RFC 7515, 4.1.11)."""

    alg: Literal["EdDSA"]
    kid: str
    typ: Literal["np-lease+jwt"]
    crit: Any = None


class PublicJwk(msgspec.Struct, frozen=True, kw_only=True):
    """An Ed25519 public key; `x` is its 32 bytes (RFC 8037, 2)."""

    kty: Annotated[Literal["OKP"], msgspec.Meta(description="Key type: an octet key pair.")] = "OKP"
    crv: Annotated[Literal["Ed25519"], msgspec.Meta(description="The curve.")] = "Ed25519"
    alg: Annotated[Literal["EdDSA"], msgspec.Meta(description="The algorithm of the leases' signatures.")] = "EdDSA"
    use: Annotated[Literal["sig"], msgspec.Meta(description="Signatures only.")] = "sig"
    kid: Annotated[str, msgspec.Meta(description="The key's name; a lease carries it in its header.", examples=["l1"])]
    x: Annotated[
        str,
        msgspec.Meta(
            description="The public key: 32 bytes in base64url, without padding.",
            examples=["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"],
        ),
    ]


class JwkSet(msgspec.Struct, frozen=True):
    """The public keys of leases (RFC 7517)."""

    keys: Annotated[list[PublicJwk], msgspec.Meta(description="All keys that valid leases may be signed with.")]

    @classmethod
    def of(cls, public_keys: Mapping[str, bytes]) -> "JwkSet":
        """`public_keys`: kid → 32 bytes."""
        return cls([PublicJwk(kid=kid, x=_b64url(key)) for kid, key in public_keys.items()])

    def public_keys(self) -> dict[str, bytes]:
        return {key.kid: _from_b64url(key.x) for key in self.keys}


class LeaseSigner:
    """Signs with the first of its keys. The others are there so that their public keys stay published."""

    def __init__(self, seeds: Mapping[str, bytes]) -> None:
        """`seeds`: kid → 32 bytes."""
        keys = {kid: Ed25519PrivateKey.from_private_bytes(seed) for kid, seed in seeds.items()}
        self.kid = next(iter(keys))
        self.public_keys = {kid: key.public_key().public_bytes_raw() for kid, key in keys.items()}
        self._key = keys[self.kid]
        self._head = _b64url(msgspec.json.encode({"alg": "EdDSA", "kid": self.kid, "typ": TYPE}))

    def sign(self, claims: bytes) -> str:
        signed = f"{self._head}.{_b64url(claims)}"
        return f"{signed}.{_b64url(self._key.sign(signed.encode()))}"


def opened(token: str, public_keys: Mapping[str, bytes]) -> bytes | LeaseDefect:
    """The claims of a token that was signed by one of these keys. `public_keys`: kid → 32 bytes."""
    match = _COMPACT.fullmatch(token) if len(token) <= _LONGEST else None
    if match is None:
        return LeaseDefect.MALFORMED
    try:
        head, claims, signature = (_from_b64url(part) for part in match.groups())
        header = msgspec.json.decode(head, type=_Header)
    except ValueError:
        return LeaseDefect.MALFORMED
    if header.crit is not None:
        return LeaseDefect.MALFORMED
    key = public_keys.get(header.kid)
    if key is None:
        return LeaseDefect.UNKNOWN_KEY
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, token.rpartition(".")[0].encode())
    except InvalidSignature:
        return LeaseDefect.BAD_SIGNATURE
    return claims


def _b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _from_b64url(text: str) -> bytes:
    """ValueError where it is not exactly what `_b64url` writes, so that one document has one token only."""
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _b64url(raw) != text:
        raise ValueError("not canonical")
    return raw
