"""Redaction: a secret is removed by its name, its shape, or the text before it; other text stays."""

from typing import Any, Final
from uuid import UUID

import pytest

from core.redaction import BLOT, blotted, is_secret, without_secrets

WORD: Final = "seven-green-bicycles"

SHAPES: Final = (
    "NP-AB12-CD34-EF56",
    "np-ab12-cd34-ef56",
    "NPAB12CD34EF56",
    "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
    "whsec_0123456789abcdef",
    "nps_Zm9vYmFyYmF6cXV4-_x",
    "npt_Zm9vYmFyYmF6cXV4-_x",
    "K7QW-3F9D-M2XA-8RTC",
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    f"{'0' * 32}.{'x' * 43}",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----",
)


@pytest.mark.parametrize("secret", SHAPES)
def test_by_its_shape(secret: str) -> None:
    told = blotted(f"it said {secret} and went on")
    assert secret not in told
    assert told == f"it said {BLOT} and went on"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /reset-password?token={WORD}",
        f"GET /verify-email?a=1&token={WORD}&b=2",
        f"LoginOrder(email='a@b.c', password='{WORD}')",
        f'LoginOrder(email="a@b.c", password="{WORD} and more")',
        f'{{"new_password": "{WORD}"}}',
        f"{{'client_secret': '{WORD}'}}",
        f"{{'license_key':'{WORD}'}}",
        f"secret=b'{WORD}'",
        f"np_refresh={WORD}; Path=/api/v1/auth",
        f"Authorization: Bearer {WORD}",
        f"authorization=Basic {WORD}",
        f"postgresql://np_api:{WORD}@10.0.0.1:5432/np",
        f"redis://:{WORD}@10.0.0.1:6379/0",
    ],
)
def test_by_what_stands_before_it(text: str) -> None:
    assert WORD not in blotted(text)


@pytest.mark.parametrize(
    "name",
    [
        *("password", "new_password", "api_secret", "refresh_token", "Authorization", "cookie", "Set-Cookie"),
        *("license_key", "np_signature", "cvc", "recovery_codes", "challenge", "api_key", "STRIPE_API_KEY"),
    ],
)
def test_by_its_name_at_any_depth(name: str) -> None:
    assert is_secret(name)
    events: list[Any] = [{name: WORD}, {"request": {name: [WORD]}}, {"items": [{"a": ({name: WORD},)}]}]
    for event in events:
        assert WORD not in str(without_secrets(event))


@pytest.mark.parametrize(
    "text",
    [
        "license.suspended",
        "/api/v1/licenses/0198d2f0-0000-7000-8000-000000000001/reveal-key",
        "0198d2f0-0000-7000-8000-000000000001",
        "the token is not known",
        "http://127.0.0.1:8001/health/ready?session_id=5",
        "Basic refusal",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert blotted(text) == text


@pytest.mark.parametrize("name", ["license_id", "token_type", "api_key_id", "secret_count", "path", "license_key_hash"])
def test_facts_about_secrets_are_none(name: str) -> None:
    assert not is_secret(name)


def test_plain_values_stay_as_they_are_and_others_are_told_by_their_repr() -> None:
    facts = {"n": 3, "ratio": 0.5, "yes": True, "nothing": None, "all": [1, "two"]}
    assert without_secrets(facts) == facts
    assert without_secrets(UUID(int=1)) == repr(UUID(int=1))
    assert WORD not in without_secrets(ValueError(f"password={WORD}"))
    assert WORD not in without_secrets(f"token={WORD}".encode())


def test_a_long_text_is_read_in_time_that_grows_with_it() -> None:
    """Not quadratic: a body of a megabyte in an exception must not delay the process that logs it."""
    assert blotted("a" * 1_000_000) == "a" * 1_000_000
    assert blotted("x-" * 500_000).startswith("x-x-")
