"""Stripe from outside: a browser that pays on the hosted page, and the objects as Stripe has them."""

import re
from typing import Any, Final
from urllib.parse import urljoin

import httpx

from tests.support.environment import STRIPE_KEY

GOOD_CARD: Final = "4242424242424242"
DECLINED_CARD: Final = "4000000000000002"


async def pay(browser: httpx.AsyncClient, url: str, card: str = GOOD_CARD) -> httpx.Response:
    """Opens the payment page and sends its form; does not follow the redirect back to the shop."""
    page = await browser.get(url)
    form = re.search(r'<form[^>]*action="([^"]*)"', page.text)
    fields = {"card_number": card, "exp": "12/99", "cvc": "123", "name": "Ada Buyer"}
    return await browser.post(urljoin(url, form[1] if form else ""), data=fields)


async def objects(browser: httpx.AsyncClient, stripe: str, path: str, **query: str) -> list[dict[str, Any]]:
    """A list from Stripe's API."""
    answer = await browser.get(f"{stripe}/v1/{path}", params=query, auth=(STRIPE_KEY, ""))
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["data"]
    return items


async def change_subscription(browser: httpx.AsyncClient, stripe: str, subscription_id: str, **form: str) -> None:
    path = f"{stripe}/v1/subscriptions/{subscription_id}"
    answer = await browser.post(path, data=form, auth=(STRIPE_KEY, ""))
    assert answer.status_code == 200, answer.text


async def cancel_subscription(browser: httpx.AsyncClient, stripe: str, subscription_id: str) -> None:
    answer = await browser.delete(f"{stripe}/v1/subscriptions/{subscription_id}", auth=(STRIPE_KEY, ""))
    assert answer.status_code == 200, answer.text
