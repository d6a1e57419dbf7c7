"""OpenAPI document: complete, compressed, and sent once to each client."""

import gzip
import json

import httpx
import pytest

from billing_api.web.conditional_get import etag_matches
from billing_api.web.static_answer import VARY, accepts_gzip
from tests.billing_api.conftest import Client

PATH = "/schema/openapi.json"


async def raw(client: Client, **headers: str) -> tuple[httpx.Response, bytes]:
    """Returns the answer and its body as it was sent."""
    async with client.stream("GET", PATH, headers=headers) as answer:
        body = b"".join([chunk async for chunk in answer.aiter_raw()])
    return answer, body


async def test_it_is_compressed_for_who_takes_that(client: Client) -> None:
    plain, whole = await raw(client, **{"Accept-Encoding": "identity"})
    answer, small = await raw(client, **{"Accept-Encoding": "gzip, deflate, br"})
    assert "content-encoding" not in plain.headers
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(small) == whole
    assert len(small) < len(whole) / 5
    assert json.loads(whole)["openapi"].startswith("3.1")
    for each in (plain, answer):
        assert each.headers["content-type"].startswith("application/vnd.oai.openapi+json")
        assert (each.headers["vary"], each.headers["cache-control"]) == (VARY, "no-cache")
    assert plain.headers["etag"] != answer.headers["etag"], "another coding is another representation"


async def test_no_name_in_it_depends_on_where_our_modules_lie(client: Client) -> None:
    _, whole = await raw(client, **{"Accept-Encoding": "identity"})
    assert {"InvoiceViewPage", "LicenseViewPage"} <= json.loads(whole)["components"]["schemas"].keys()
    assert b"billing_api." not in whole


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
async def test_who_has_it_already_is_sent_nothing(client: Client, accepted: str) -> None:
    first, _ = await raw(client, **{"Accept-Encoding": accepted})
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again, body = await raw(client, **{"Accept-Encoding": accepted, "If-None-Match": known})
        assert (again.status_code, body) == (304, b"")
        assert again.headers["etag"] == tag
        assert "content-encoding" not in again.headers
    changed, _ = await raw(client, **{"Accept-Encoding": accepted, "If-None-Match": '"other"'})
    assert changed.status_code == 200


async def test_the_tag_is_the_same_in_every_process(client: Client) -> None:
    """The tag depends on the content only, so that a client may ask another process the next time."""
    answer, body = await raw(client, **{"Accept-Encoding": "identity"})
    again, same = await raw(client, **{"Accept-Encoding": "identity"})
    assert (answer.headers["etag"], body) == (again.headers["etag"], same)


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=1.0", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("br", False),
        ("gzip;q=nonsense", False),
    ],
)
def test_what_a_client_takes(accepted: str, expected: bool) -> None:
    assert accepts_gzip(accepted) is expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [("", False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"ab"', False), ("a", False)],
)
def test_what_a_client_has(known: str, expected: bool) -> None:
    assert etag_matches(known, '"a"') is expected
