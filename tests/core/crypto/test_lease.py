"""Lease tokens: what was signed can be opened, and nothing else. PyJWT, an independent library, reads them, too."""

import base64
import json
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from core.crypto.lease import TYPE, JwkSet, LeaseDefect, LeaseSigner, opened

SEED: Final = bytes(range(32))
OTHER_SEED: Final = bytes(reversed(range(32)))
CLAIMS: Final = b'{"sub":"a license","limits":{"databases":5}}'

SIGNER: Final = LeaseSigner({"k1": SEED})
TOKEN: Final = SIGNER.sign(CLAIMS)


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any, seed: bytes = SEED, claims: bytes = CLAIMS) -> str:
    """A token with any header, its signature right."""
    text = f"{b64url(json.dumps(header).encode())}.{b64url(claims)}"
    return f"{text}.{b64url(Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode()))}"


def test_what_was_signed_opens() -> None:
    assert opened(TOKEN, SIGNER.public_keys) == CLAIMS


def test_a_foreign_library_reads_it_with_the_published_keys() -> None:
    published = jwt.PyJWKSet.from_json(json.dumps(json_of(JwkSet.of(SIGNER.public_keys))))
    assert jwt.get_unverified_header(TOKEN) == {"alg": "EdDSA", "kid": "k1", "typ": TYPE}
    assert jwt.decode(TOKEN, published["k1"], ["EdDSA"], options={"verify_sub": False}) == json.loads(CLAIMS)


def json_of(jwks: JwkSet) -> dict[str, Any]:
    return {"keys": [{name: getattr(key, name) for name in key.__struct_fields__} for key in jwks.keys]}


def test_the_published_set_holds_public_halves_only() -> None:
    (key,) = JwkSet.of(SIGNER.public_keys).keys
    assert (key.kty, key.crv, key.use, key.kid) == ("OKP", "Ed25519", "sig", "k1")
    assert base64.urlsafe_b64decode(key.x + "=") == SIGNER.public_keys["k1"] != SEED
    assert JwkSet([key]).public_keys() == SIGNER.public_keys


@given(position=st.integers(0, len(TOKEN) - 1), symbol=st.sampled_from("ABab01-_.= é"))
def test_no_symbol_of_a_token_can_be_another(position: int, symbol: str) -> None:
    altered = TOKEN[:position] + symbol + TOKEN[position + 1 :]
    if altered != TOKEN:
        assert isinstance(opened(altered, SIGNER.public_keys), LeaseDefect)


def test_other_claims_under_an_old_signature() -> None:
    head, _, signature = TOKEN.split(".")
    forged = f"{head}.{b64url(CLAIMS.replace(b'5', b'9'))}.{signature}"
    assert opened(forged, SIGNER.public_keys) is LeaseDefect.BAD_SIGNATURE


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "kid": "k1", "typ": TYPE},
        {"alg": "HS256", "kid": "k1", "typ": TYPE},
        {"alg": "eddsa", "kid": "k1", "typ": TYPE},
        {"kid": "k1", "typ": TYPE},
        {"alg": "EdDSA", "typ": TYPE},
        {"alg": "EdDSA", "kid": 1, "typ": TYPE},
        {"alg": "EdDSA", "kid": "k1"},
        {"alg": "EdDSA", "kid": "k1", "typ": "JWT"},
        {"alg": "EdDSA", "kid": "k1", "typ": TYPE, "crit": ["b64"], "b64": False},
        ["EdDSA"],
    ],
)
def test_a_header_that_is_not_ours(header: Any) -> None:
    assert opened(signed(header), SIGNER.public_keys) is LeaseDefect.MALFORMED


def test_a_header_may_say_more_than_we_read() -> None:
    assert opened(signed({"alg": "EdDSA", "kid": "k1", "typ": TYPE, "x5t": "-"}), SIGNER.public_keys) == CLAIMS


def test_no_signature_at_all() -> None:
    head, claims, _ = TOKEN.split(".")
    for token in (f"{head}.{claims}.", f"{head}.{claims}", "", "..", "a.b.c", TOKEN * 100):
        assert opened(token, SIGNER.public_keys) is LeaseDefect.MALFORMED


def test_the_key_of_somebody_else() -> None:
    header = {"alg": "EdDSA", "kid": "k1", "typ": TYPE}
    assert opened(signed(header, OTHER_SEED), SIGNER.public_keys) is LeaseDefect.BAD_SIGNATURE
    assert opened(TOKEN, {"k2": SIGNER.public_keys["k1"]}) is LeaseDefect.UNKNOWN_KEY
    assert opened(TOKEN, {}) is LeaseDefect.UNKNOWN_KEY


def test_keys_overlap_while_one_replaces_the_other() -> None:
    rotated = LeaseSigner({"k2": OTHER_SEED, "k1": SEED})
    newer = rotated.sign(CLAIMS)
    assert jwt.get_unverified_header(newer)["kid"] == "k2"
    for token in (TOKEN, newer):
        assert opened(token, rotated.public_keys) == CLAIMS
    assert opened(newer, SIGNER.public_keys) is LeaseDefect.UNKNOWN_KEY
