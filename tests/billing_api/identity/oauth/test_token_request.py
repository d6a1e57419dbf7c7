"""Token request: the form of RFC 6749 2.3.1, 3.2 and 4.4.2, byte by byte."""

import base64

import pytest

from billing_api.identity.oauth.token_request import FORM, TokenError, TokenRefused, read

BODY = b"grant_type=client_credentials&client_id=c1&client_secret=s1"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def fault(content_type: str = FORM, authorization: str | None = None, body: bytes = BODY) -> TokenError:
    with pytest.raises(TokenRefused) as refused:
        read(content_type, authorization, body)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None, "a traceback would print the body"
    assert all(" " <= symbol <= "~" and symbol not in '"\\' for symbol in refused.value.description)
    return refused.value.error


def test_credentials_in_the_form() -> None:
    assert read(FORM, None, BODY) == ("c1", "s1", "client_credentials", None)
    assert read("Application/X-WWW-Form-Urlencoded; charset=UTF-8", None, BODY).client_id == "c1"


def test_credentials_by_basic_are_form_encoded_first() -> None:
    wanted = read(FORM, basic("c%3A1:s+%26%C3%A9"), b"grant_type=client_credentials&scope=a+b")
    assert wanted == ("c:1", "s &é", "client_credentials", "a b")
    assert read(FORM, basic("c1:a:b").replace("Basic", "bAsIc"), b"grant_type=x&client_id=c1").client_secret == "a:b"


def test_what_is_empty_or_unknown_is_as_if_it_were_not_there() -> None:
    wanted = read(FORM, None, BODY + b"&scope=&resource=https%3A%2F%2Fexample.com&x")
    assert wanted.scope is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"client_id=c1&client_secret=s1",
        b"grant_type=&client_id=c1&client_secret=s1",
        BODY + b"&scope=a&scope=b",
        BODY + b"&grant_type=client_credentials",
        BODY + b"&scope=%FF",
        BODY + b"&scope=\xff",
        BODY + b"".join(b"&p%d=1" % number for number in range(30)),
    ],
)
def test_a_form_that_is_none_is_an_invalid_request(body: bytes) -> None:
    assert fault(body=body) in {TokenError.INVALID_REQUEST} | ({TokenError.INVALID_CLIENT} if not body else set())


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "text/plain"])
def test_another_content_type_is_an_invalid_request(content_type: str) -> None:
    assert fault(content_type) is TokenError.INVALID_REQUEST


def test_two_ways_to_authenticate_are_one_too_many() -> None:
    assert fault(authorization=basic("c1:s1")) is TokenError.INVALID_REQUEST
    body = b"grant_type=client_credentials&client_id=c2"
    assert fault(authorization=basic("c1:s1"), body=body) is TokenError.INVALID_REQUEST


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic !!!", basic("c1"), basic(":s1"), basic("c1:"), "Bearer abc", "Basic " + "A", basic("%FF:s")],
)
def test_credentials_that_cannot_be_read_are_an_invalid_client(authorization: str) -> None:
    assert fault(authorization=authorization, body=b"grant_type=client_credentials") is TokenError.INVALID_CLIENT


@pytest.mark.parametrize("body", [b"client_id=c1", b"client_secret=s1", b"grant_type=client_credentials&client_id=c1"])
def test_without_credentials_the_client_is_invalid(body: bytes) -> None:
    assert fault(body=body) is TokenError.INVALID_CLIENT


def test_a_request_does_not_print_its_secret() -> None:
    assert "s1" not in repr(read(FORM, None, BODY))
