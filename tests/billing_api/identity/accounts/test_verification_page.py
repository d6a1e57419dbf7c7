"""Verification page: a click of the user confirms, a mail scanner that opens the link does not."""

import re
from html import unescape

import httpx
import pytest
from structlog.testing import capture_logs

from tests.support.visitors import Mailbox, Visitor

PATH = "/verify-email"


async def registered(visitor: Visitor, mailbox: Mailbox) -> str:
    """The token that was mailed."""
    await visitor.register()
    (token,) = await mailbox.tokens(visitor.email)
    return token


def fields(page: str) -> dict[str, str]:
    hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in hidden}


def guarded(answer: httpx.Response) -> bool:
    headers = answer.headers
    return (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")


async def test_a_person_opens_the_link_presses_the_button_and_can_sign_in(visitor: Visitor, mailbox: Mailbox) -> None:
    token = await registered(visitor, mailbox)
    scanned, page = [await visitor.web.get(PATH, params={"token": token}) for _ in ("a mail scanner", "the person")]
    assert scanned.text == page.text
    assert page.status_code == 200
    assert guarded(page)
    assert (await visitor.login()).json()["code"] == "email_not_verified"  # opening confirms nothing

    assert fields(page.text) == {"token": token}
    assert f'action="{PATH}"' in page.text
    confirmed = await visitor.web.post(PATH, data=fields(page.text))
    assert confirmed.status_code == 200
    assert guarded(confirmed)
    assert f"sign in as {visitor.email}" in confirmed.text
    assert (await visitor.login()).status_code == 200

    again = await visitor.web.post(PATH, data=fields(page.text))
    assert again.status_code == 400
    assert guarded(again)
    assert "does not work any more" in again.text


async def test_no_token_is_logged(visitor: Visitor, mailbox: Mailbox) -> None:
    token = await registered(visitor, mailbox)
    with capture_logs() as events:
        await visitor.web.get(PATH, params={"token": token})
        await visitor.web.post(PATH, data={"token": token})
    assert [event["path"] for event in events if event["event"] == "request"] == [PATH, PATH]
    assert token not in str(events)


async def test_what_a_link_brings_cannot_become_part_of_the_page(visitor: Visitor) -> None:
    bait = '"><script>alert(1)</script>'
    page = await visitor.web.get(PATH, params={"token": bait})
    assert "<script" not in page.text
    assert fields(page.text) == {"token": bait}


@pytest.mark.parametrize("form", [{}, {"token": ""}, {"token": "x" * 300}, {"token": "x", "more": "y"}])
async def test_a_form_that_does_not_fit_is_refused(visitor: Visitor, form: dict[str, str]) -> None:
    assert (await visitor.web.post(PATH, data=form)).status_code == 400
