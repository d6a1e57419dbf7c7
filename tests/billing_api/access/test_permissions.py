"""Access tokens under attack: each forgery differs from a valid token in one thing, which its name says."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from billing_api.access.permissions import (
    IMPERSONATION,
    PERMISSIONS,
    SCOPES,
    STEP_UP,
    Permission,
    Principal,
    Scope,
    client_principal,
    may,
    require_second_factor,
    require_step_up,
)
from billing_api.access.tokens import ClientToken, TokenIssuer
from core.errors import InvalidToken, SecondFactorRequired, StepUpRequired, Unauthenticated
from core.ids import new_id
from db.models.identity import Role

NOW: Final = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SEED: Final = bytes(range(32))
OTHER_SEED: Final = bytes(range(1, 33))
ADA: Final = Principal(new_id(), Role.CUSTOMER, new_id(), NOW - timedelta(minutes=2))

HEADER: Final[Mapping[str, Any]] = {"alg": "EdDSA", "typ": "JWT", "kid": "k1"}
CLAIMS: Final[Mapping[str, Any]] = {
    "sub": str(ADA.user_id),
    "role": "customer",
    "sid": str(ADA.session_id),
    "auth_time": int(ADA.authenticated_at.timestamp()),
    "amr": ["pwd"],
    "aud": "nextpanel-billing",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 900,
}
CLIENT_ID: Final = new_id()
CLIENT_CLAIMS: Final[Mapping[str, Any]] = {
    "sub": str(CLIENT_ID),
    "client_id": str(CLIENT_ID),
    "scope": "licenses:read usage:read",
    "aud": CLAIMS["aud"],
    "iat": CLAIMS["iat"],
    "exp": CLAIMS["exp"],
}


def issuer(keys: Mapping[str, bytes] | None = None, *, at: datetime = NOW) -> TokenIssuer:
    return TokenIssuer(keys or {"k1": SEED}, lambda: at)


def part(content: Any) -> str:
    raw = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def crafted(header: Any = HEADER, claims: Any = CLAIMS, *, seed: bytes = SEED) -> str:
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(Ed25519PrivateKey.from_private_bytes(seed).sign(signed.encode()))}"


def with_hmac(secret: bytes) -> str:
    signed = f"{part({**HEADER, 'alg': 'HS256'})}.{part(CLAIMS)}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def public_key(encoding: Encoding, form: PublicFormat) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes(encoding, form)


def without(claims: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


def test_a_token_says_who_it_was_made_for() -> None:
    assert issuer().read(issuer().issue(ADA)) == ADA


def test_a_crafted_copy_of_a_good_token_is_good() -> None:
    """The valid token is accepted; otherwise the forgeries below would prove nothing."""
    assert issuer().read(crafted()) == ADA


@pytest.mark.parametrize(
    ("age", "good"),
    [
        (timedelta(minutes=15) - timedelta(seconds=1), True),
        (timedelta(minutes=15), False),
        (timedelta(days=365), False),
        (timedelta(seconds=-1), True),
        (timedelta(seconds=-2), False),
        (timedelta(hours=-1), False),
    ],
)
def test_a_token_lives_for_a_quarter_of_an_hour_and_not_before_it_was_made(age: timedelta, good: bool) -> None:
    token = issuer().issue(ADA)
    if good:
        assert issuer(at=NOW + age).read(token) == ADA
    else:
        with pytest.raises(Unauthenticated):
            issuer(at=NOW + age).read(token)


class TurnedClock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def test_a_remembered_token_ends_when_it_would_have_ended() -> None:
    clock = TurnedClock()
    tokens = TokenIssuer({"k1": SEED}, clock)
    token = tokens.issue(ADA)
    for age, good in ((0, True), (899, True), (900, False), (899, True), (-2, False)):
        clock.now = NOW + timedelta(seconds=age)
        if good:
            assert tokens.holder(token) == ADA
        else:
            with pytest.raises(Unauthenticated, match="has expired"):
                tokens.holder(token)


def test_a_remembered_token_vouches_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing_api.access.tokens._MOST_REMEMBERED", 2)
    tokens, others = issuer(), issuer({"k1": bytes(32)})
    good = [tokens.issue(ADA), crafted(), crafted({**HEADER, "typ": "at+jwt"}, CLIENT_CLAIMS)]
    kinds = (Principal, Principal, ClientToken)
    for _ in range(3):  # more kinds than are remembered: each is forgotten, and verified again
        assert tuple(type(tokens.holder(token)) for token in good) == kinds
        for forged in (others.issue(ADA), good[0][:-4] + "AAAA", good[1].rpartition(".")[0] + ".", ""):
            with pytest.raises(Unauthenticated):
                tokens.holder(forged)


FORGERIES: Final = {
    "alg none": f"{part({**HEADER, 'alg': 'none'})}.{part(CLAIMS)}.",
    "alg None": f"{part({**HEADER, 'alg': 'None'})}.{part(CLAIMS)}.",
    "alg none, with the signature": crafted({**HEADER, "alg": "none"}),
    "alg missing": crafted(without(HEADER, "alg")),
    "signature left out": crafted().rpartition(".")[0] + ".",
    "signature cut": crafted()[:-10],
    "HMAC with the raw public key": with_hmac(public_key(Encoding.Raw, PublicFormat.Raw)),
    "HMAC with the public key's PEM": with_hmac(public_key(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    "HMAC with nothing": with_hmac(b""),
    "another key under our kid": crafted(seed=OTHER_SEED),
    "unknown kid": crafted({**HEADER, "kid": "k2"}),
    "kid that walks a path": crafted({**HEADER, "kid": "../../etc/passwd"}),
    "kid that is SQL": crafted({**HEADER, "kid": "' OR 1=1 --"}),
    "kid a number": crafted({**HEADER, "kid": 1}),
    "kid a list": crafted({**HEADER, "kid": ["k1"]}),
    "kid null": crafted({**HEADER, "kid": None}),
    "kid missing": crafted(without(HEADER, "kid")),
    "key in the header": crafted(
        {
            "alg": "EdDSA",
            "jwk": {"kty": "OKP", "crv": "Ed25519", "x": part(public_key(Encoding.Raw, PublicFormat.Raw))},
        }
    ),
    "unknown critical header": crafted({**HEADER, "crit": ["exp"]}),
    "wrong audience": crafted(claims={**CLAIMS, "aud": "nextpanel"}),
    "audience missing": crafted(claims=without(CLAIMS, "aud")),
    "expired": crafted(claims={**CLAIMS, "iat": CLAIMS["iat"] - 1000, "exp": CLAIMS["exp"] - 1000}),
    "made in the future": crafted(claims={**CLAIMS, "iat": CLAIMS["iat"] + 3600, "exp": CLAIMS["exp"] + 3600}),
    "exp a text": crafted(claims={**CLAIMS, "exp": "never"}),
    "exp null": crafted(claims={**CLAIMS, "exp": None}),
    "iat a text": crafted(claims={**CLAIMS, "iat": "yesterday"}),
    "unknown role": crafted(claims={**CLAIMS, "role": "root"}),
    "role a list": crafted(claims={**CLAIMS, "role": ["admin"]}),
    "sub no id": crafted(claims={**CLAIMS, "sub": "1 OR 1=1"}),
    "sub a number": crafted(claims={**CLAIMS, "sub": 1}),
    "sid no id": crafted(claims={**CLAIMS, "sid": "x"}),
    "auth_time a text": crafted(claims={**CLAIMS, "auth_time": "now"}),
    "amr a text": crafted(claims={**CLAIMS, "amr": "otp"}),
    "amr a list of numbers": crafted(claims={**CLAIMS, "amr": [1]}),
    "act a text": crafted(claims={**CLAIMS, "act": str(ADA.user_id)}),
    "act null": crafted(claims={**CLAIMS, "act": None}),
    "act without sub": crafted(claims={**CLAIMS, "act": {}}),
    "act no id": crafted(claims={**CLAIMS, "act": {"sub": "admin"}}),
    "claims a list": crafted(claims=[CLAIMS]),
    "claims no JSON": crafted(claims=b"{"),
    "a client's typ": crafted({**HEADER, "typ": "at+jwt"}),
    "a client's token": crafted({**HEADER, "typ": "at+jwt"}, CLIENT_CLAIMS),
    "a client's claims": crafted(claims=CLIENT_CLAIMS),
    "typ missing": crafted(without(HEADER, "typ")),
    "claims changed": f"{part(HEADER)}.{part({**CLAIMS, 'role': 'admin'})}.{crafted().rpartition('.')[2]}",
    "header no JSON": crafted(header=b"{"),
    "header a text": crafted(header="EdDSA"),
    "five parts": crafted() + ".a.b",
    "two parts": "a.b",
    "one part": "garbage",
    "nothing": "",
    "dots": "...",
    "not base64": "ä.ö.ü",
    "NUL": "\x00",
    "long": "a" * 100_000,
    **{f"{name} missing": crafted(claims=without(CLAIMS, name)) for name in CLAIMS if name != "aud"},
}


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_token_is_refused_and_the_answer_tells_nothing(token: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        issuer().read(token)
    assert "POST auth/login" in refusal.value.detail
    assert token[:20] not in refusal.value.detail or not token
    assert refusal.value.__suppress_context__


def test_a_clients_token_says_which_and_what_for() -> None:
    token = ClientToken(CLIENT_ID, frozenset({Scope.LICENSES_READ, Scope.USAGE_READ}))
    assert issuer().read_client(issuer().issue_to_client(token)) == token
    assert issuer().read_client(crafted({**HEADER, "typ": "at+jwt"}, CLIENT_CLAIMS)) == token
    assert issuer().read_client(issuer().issue(ADA)) is None


CLIENT_HEADER: Final[Mapping[str, Any]] = {**HEADER, "typ": "at+jwt"}
CLIENT_FORGERIES: Final = {
    "alg none": f"{part({**CLIENT_HEADER, 'alg': 'none'})}.{part(CLIENT_CLAIMS)}.",
    "another key": crafted(CLIENT_HEADER, CLIENT_CLAIMS, seed=OTHER_SEED),
    "a person's claims": crafted(CLIENT_HEADER, CLAIMS),
    "wrong audience": crafted(CLIENT_HEADER, {**CLIENT_CLAIMS, "aud": "nextpanel"}),
    "expired": crafted(CLIENT_HEADER, {**CLIENT_CLAIMS, "iat": 0, "exp": 900}),
    "unknown scope": crafted(CLIENT_HEADER, {**CLIENT_CLAIMS, "scope": "licenses:read admin"}),
    "scope a list": crafted(CLIENT_HEADER, {**CLIENT_CLAIMS, "scope": ["licenses:read"]}),
    "client no id": crafted(CLIENT_HEADER, {**CLIENT_CLAIMS, "client_id": "1 OR 1=1"}),
    **{f"{name} missing": crafted(CLIENT_HEADER, without(CLIENT_CLAIMS, name)) for name in CLIENT_CLAIMS},
}


@pytest.mark.parametrize("token", CLIENT_FORGERIES.values(), ids=CLIENT_FORGERIES.keys())
def test_a_clients_token_is_not_forged_either(token: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        issuer().read_client(token)
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize("token", ["garbage", "", "a.b.c", "\x00", crafted([]), crafted({**HEADER, "typ": 7})])
def test_what_does_not_say_that_it_is_a_clients_is_refused_as_a_persons(token: str) -> None:
    """A person whose token was cut on the way is told to sign in, not to ask for a program's token."""
    assert issuer().read_client(token) is None
    with pytest.raises(InvalidToken, match="auth/login"):
        issuer().read(token)


def test_a_client_may_what_its_scopes_open_and_never_steps_up() -> None:
    assert SCOPES.keys() == set(Scope)
    client = client_principal(CLIENT_ID, ADA.user_id, frozenset({Scope.USAGE_READ}))
    assert {permission for permission in Permission if may(client, permission, reads=True)} == {
        Permission.OWN_USAGE_READ
    }
    everything = client_principal(CLIENT_ID, ADA.user_id, frozenset(Scope))
    assert {permission for permission in Permission if may(everything, permission, reads=True)} == set(SCOPES.values())
    assert not any(permission.is_for_staff for permission in SCOPES.values())
    with pytest.raises(StepUpRequired):
        require_step_up(everything, NOW)
    with pytest.raises(SecondFactorRequired):
        require_second_factor(everything)


LOOKING: Final = Principal(ADA.user_id, Role.CUSTOMER, new_id(), ADA.authenticated_at, actor_id=new_id())


def test_a_token_of_an_impersonation_says_so_and_lives_for_five_minutes() -> None:
    token = issuer().issue(LOOKING)
    assert issuer(at=NOW + timedelta(minutes=5) - timedelta(seconds=1)).read(token) == LOOKING
    with pytest.raises(Unauthenticated):
        issuer(at=NOW + timedelta(minutes=5)).read(token)


def test_who_impersonates_only_looks_and_at_no_credentials() -> None:
    for permission in Permission:
        assert may(LOOKING, permission, reads=True) == (permission in IMPERSONATION)
        assert not may(LOOKING, permission, reads=False)
        as_staff = Principal(LOOKING.user_id, Role.ADMIN, LOOKING.session_id, NOW, actor_id=LOOKING.actor_id)
        assert not may(as_staff, permission, reads=True)


def test_keys_are_rotated_with_overlap() -> None:
    old = issuer({"k1": SEED}).issue(ADA)
    both = issuer({"k2": OTHER_SEED, "k1": SEED})
    assert both.read(old) == ADA
    new = both.issue(ADA)
    assert issuer({"k2": OTHER_SEED}).read(new) == ADA
    for retired in (issuer({"k2": OTHER_SEED}).read, issuer({"k1": OTHER_SEED}).read):
        with pytest.raises(Unauthenticated):
            retired(old)


def test_a_step_up_lasts_five_minutes() -> None:
    require_step_up(ADA, ADA.authenticated_at + STEP_UP)
    with pytest.raises(StepUpRequired):
        require_step_up(ADA, ADA.authenticated_at + STEP_UP + timedelta(seconds=1))


def test_a_second_factor_is_one_that_was_given() -> None:
    with pytest.raises(SecondFactorRequired):
        require_second_factor(ADA)
    require_second_factor(msgspec.structs.replace(ADA, amr=("pwd", "otp")))


def test_more_powerful_roles_may_do_all_that_lesser_ones_may() -> None:
    assert PERMISSIONS.keys() == set(Role)
    assert PERMISSIONS[Role.CUSTOMER] < PERMISSIONS[Role.SUPPORT] < PERMISSIONS[Role.ADMIN]
    assert not any(name.startswith("admin.") for name in PERMISSIONS[Role.CUSTOMER])
    changes = {name for name in PERMISSIONS[Role.SUPPORT] if name.endswith(".change")}
    assert changes == {Permission.NOTES_CHANGE}, "support changes nothing that belongs to a customer"
    assert PERMISSIONS[Role.ADMIN] == set(Permission) - {Permission.PUBLIC, Permission.SIGNED}
