"""Test client: a visitor with a browser, in front of the application in this process (over ASGI)."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import httpx
from litestar import Litestar

from core.settings import Secrets
from tests.support.databases import rows
from tests.support.servers import DatabaseUrls

ORIGIN: Final = "http://127.0.0.1:8001"
PASSWORD: Final = "seven green bicycles"


def browser(app: Litestar, *, comes_from: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
    """Its requests run concurrently in the test's own event loop; it keeps cookies like a browser."""
    transport = httpx.ASGITransport(cast("Any", app), raise_app_exceptions=False, client=(comes_from, 123))
    return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers, timeout=30)


@asynccontextmanager
async def alive(app: Litestar) -> AsyncIterator[Litestar]:
    """The started application. It starts and stops in one task, as anyio needs; fixtures end in another task."""
    started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set_result(None)
            await over.wait()

    life = asyncio.create_task(live())
    await asyncio.wait({life, started}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield app
    finally:
        over.set()
        await life


class Visitor:
    """A person and their browser. Each method is one request, and returns the response."""

    def __init__(self, web: httpx.AsyncClient, email: str) -> None:
        self.web = web
        self.email = email

    async def register(self, password: str = PASSWORD, **changes: Any) -> httpx.Response:
        body = {"email": self.email, "password": password, "full_name": "Ada Buyer"} | changes
        return await self.post("register", body)

    async def verify(self, token: str) -> httpx.Response:
        return await self.post("verify-email", {"token": token})

    async def login(self, password: str = PASSWORD) -> httpx.Response:
        return await self.post("login", {"email": self.email, "password": password})

    async def refresh(self, **headers: str) -> httpx.Response:
        return await self.post("refresh", **headers)

    async def logout(self, **headers: str) -> httpx.Response:
        return await self.post("logout", **headers)

    async def me(self, access_token: str) -> httpx.Response:
        return await self.web.get("/api/v1/me", headers={"Authorization": f"Bearer {access_token}"})

    async def post(self, call: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.web.post(f"/api/v1/auth/{call}", json=body, headers=headers)

    async def forgot(self) -> httpx.Response:
        return await self.post("password/forgot", {"email": self.email})

    async def reset(self, token: str, password: str) -> httpx.Response:
        return await self.post("password/reset", {"token": token, "password": password})

    async def signed_in(self) -> dict[str, str]:
        """Signs in; returns the headers for requests of this session."""
        granted = await self.login()
        assert granted.status_code == 200, granted.text
        return {"Authorization": f"Bearer {granted.json()['access_token']}"}

    @property
    def cookie(self) -> str | None:
        """The refresh token among the browser's cookies."""
        return self.web.cookies.get("np_refresh")

    @cookie.setter
    def cookie(self, token: str) -> None:
        self.web.cookies.clear()
        self.web.cookies.set("np_refresh", token, domain="127.0.0.1", path="/api/v1/auth")


class Mailbox:
    """The unsent mails to one address, oldest first."""

    def __init__(self, urls: DatabaseUrls, secrets: Secrets) -> None:
        self._urls = urls
        self._secrets = secrets

    async def mails(self, email: str) -> list[dict[str, Any]]:
        return await rows(
            self._urls,
            "SELECT * FROM mails WHERE lower(recipient) = lower(:email) ORDER BY created_at, id",
            email=email,
        )

    async def templates(self, email: str) -> list[str]:
        return [mail["template"] for mail in await self.mails(email)]

    async def tokens(self, email: str) -> list[str]:
        """The tokens of all links that were mailed, opened as the worker opens them."""
        sealed = [mail["parameters"].get("token_sealed") for mail in await self.mails(email)]
        return [
            self._secrets.sealer.open(base64.b64decode(token), context="mails.token").decode()
            for token in sealed
            if token is not None
        ]
