"""A user with an account, a browser, and perhaps an authenticator app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
from argon2 import PasswordHasher
from litestar import Litestar

from billing_api.identity.second_factor import totp
from core.clock import Clock
from core.ids import new_id
from db.models.identity import Role
from tests.support.people import Desk, Headers
from tests.support.visitors import PASSWORD, Visitor, browser

PASSWORD_HASH: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(PASSWORD)


class Member(Visitor):
    """Each method is one request, or a few that succeed."""

    def __init__(self, web: httpx.AsyncClient, email: str, clock: Clock) -> None:
        super().__init__(web, email)
        self.clock = clock
        self.secret = ""
        self.access_token = ""

    def code(self, ahead: int = 0) -> str:
        """The app's code; `ahead` counts time steps."""
        return totp.code_at(self.secret, totp.step_of(self.clock()) + ahead)

    @property
    def bearer(self) -> Headers:
        return {"Authorization": f"Bearer {self.access_token}"}

    async def sign_in(self) -> None:
        """Signs in, with the second factor if there is one. The next step's code is valid already, so nothing waits."""
        answer = await self.login()
        if answer.json().get("mfa_required"):
            answer = await self.answer(answer.json()["challenge"], code=self.code(1))
        assert answer.status_code == 200, answer.text
        self.access_token = answer.json()["access_token"]

    async def challenge(self) -> str:
        """The challenge after a correct password, where the second factor is needed."""
        asked = await self.login()
        assert asked.json()["mfa_required"] is True, asked.text
        return str(asked.json()["challenge"])

    async def answer(self, challenge: str, **proof: Any) -> httpx.Response:
        return await self.post("mfa", {"challenge": challenge} | proof)

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.web.request(method, f"/api/v1/{path}", json=body, headers=self.bearer)

    async def step_up(self, password: str = PASSWORD, **proof: Any) -> httpx.Response:
        return await self.call("POST", "auth/step-up", {"password": password} | proof)

    async def enroll(self) -> list[str]:
        """Sets up and confirms an app; returns its recovery codes. This uses the present time step."""
        begun = await self.call("POST", "me/mfa/totp")
        assert begun.status_code == 201, begun.text
        self.secret = begun.json()["secret"]
        confirmed = await self.call("POST", "me/mfa/totp/confirm", {"code": self.code()})
        assert confirmed.status_code == 200, confirmed.text
        return list(confirmed.json()["recovery_codes"])


@asynccontextmanager
async def a_member(app: Litestar, desk: Desk, role: Role = Role.CUSTOMER) -> AsyncIterator[Member]:
    """Signed in, with a password only."""
    email = f"{new_id().hex}@example.com"
    await desk.a_user(role, email=email, password_hash=PASSWORD_HASH)
    async with browser(app) as web:
        member = Member(web, email, desk.clock)
        await member.sign_in()
        yield member


@asynccontextmanager
async def another_browser(app: Litestar, member: Member) -> AsyncIterator[Member]:
    """A browser of the same person, not signed in."""
    async with browser(app) as web:
        twin = Member(web, member.email, member.clock)
        twin.secret = member.secret
        yield twin
