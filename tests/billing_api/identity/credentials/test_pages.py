"""Pages behind mailed links: opening one uses nothing up, and none reveals its token."""

import re
from collections.abc import Awaitable, Callable
from html import unescape

import httpx
import pytest
from structlog.testing import capture_logs

from tests.support.visitors import Mailbox, Visitor

Work = Callable[[], Awaitable[int]]
PATHS = ("/reset-password", "/confirm-email", "/undo-email-change")
NEW = "eleven blue tricycles"


def fields(page: httpx.Response) -> dict[str, str]:
    hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page.text)
    return {name: unescape(value) for name, value in hidden}


def guarded(answer: httpx.Response) -> bool:
    policy = answer.headers["content-security-policy"]
    kept = (answer.headers["referrer-policy"], answer.headers["cache-control"]) == ("no-referrer", "no-store")
    return kept and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy


async def opened(visitor: Visitor, path: str, token: str) -> httpx.Response:
    page = await visitor.web.get(path, params={"token": token})
    assert (page.status_code, guarded(page)) == (200, True)
    assert f'action="{path}"' in page.text
    return page


async def test_a_password_is_set_on_the_page(ada: Visitor, mailbox: Mailbox, work: Work) -> None:
    await ada.forgot()
    await work()
    token = (await mailbox.tokens(ada.email))[-1]
    await opened(ada, "/reset-password", token)  # a mail scanner
    page = await opened(ada, "/reset-password", token)
    assert 'type="password"' in page.text
    weak = await ada.web.post("/reset-password", data=fields(page) | {"password": "Password123!"})
    assert (weak.status_code, guarded(weak)) == (400, True)
    assert "easy to guess" in weak.text
    assert "Password123!" not in weak.text
    done = await ada.web.post("/reset-password", data=fields(weak) | {"password": NEW})
    assert (done.status_code, guarded(done)) == (200, True)
    assert "np_device" in ada.web.cookies
    assert (await ada.login(NEW)).status_code == 200
    again = await ada.web.post("/reset-password", data=fields(weak) | {"password": NEW})
    assert (again.status_code, "does not work any more" in again.text) == (400, True)


async def test_an_address_is_confirmed_and_taken_back_on_pages(ada: Visitor, mailbox: Mailbox) -> None:
    old, new = ada.email, f"new-{ada.email}"
    headers = await ada.signed_in()
    body = {"email": new, "password": "seven green bicycles"}
    await ada.web.post("/api/v1/me/email", json=body, headers=headers)
    for email, path, said in ((new, "/confirm-email", new), (old, "/undo-email-change", old)):
        token = (await mailbox.tokens(email))[-1]
        page = await opened(ada, path, token)
        await opened(ada, path, token)
        done = await ada.web.post(path, data=fields(page))
        assert (done.status_code, guarded(done), said in done.text) == (200, True, True)
        again = await ada.web.post(path, data=fields(page))
        assert (again.status_code, guarded(again)) == (400, True)


@pytest.mark.parametrize("path", PATHS)
async def test_what_a_link_brings_cannot_become_part_of_the_page(visitor: Visitor, path: str) -> None:
    bait = '"><script>alert(1)</script>'
    page = await opened(visitor, path, bait)
    assert "<script" not in page.text
    assert fields(page) == {"token": bait}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "form", [b"", b"token=", b"token=" + b"x" * 300, b"token=x&more=y", b"token=x&password=%ff%fe%ed%a0%80", b"\xff"]
)
async def test_a_form_that_does_not_fit_is_refused(visitor: Visitor, path: str, form: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await visitor.web.post(path, content=form, headers=headers)).status_code == 400


@pytest.mark.parametrize("path", PATHS)
async def test_no_token_is_logged(visitor: Visitor, path: str) -> None:
    token = "a-token-that-must-not-be-logged"
    with capture_logs() as events:
        await visitor.web.get(path, params={"token": token})
        await visitor.web.post(path, data={"token": token, "password": NEW} if "reset" in path else {"token": token})
    assert [event["path"] for event in events if event["event"] == "request"] == [path, path]
    assert token not in str(events)
    assert NEW not in str(events)
