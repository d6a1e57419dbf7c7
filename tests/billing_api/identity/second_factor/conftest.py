"""Fixtures of the second factor: a customer who is signed in, and one with an authenticator app."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from litestar import Litestar

from tests.billing_api.conftest import FakeTime
from tests.support.members import Member, a_member, another_browser
from tests.support.people import Desk


@pytest.fixture
async def ada(app: Litestar, desk: Desk) -> AsyncIterator[Member]:
    """A user, signed in with the password."""
    async with a_member(app, desk) as member:
        yield member


@pytest.fixture
async def bob(app: Litestar, desk: Desk) -> AsyncIterator[Member]:
    """A user with an app, signed in with password and code."""
    async with a_member(app, desk) as member:
        await member.enroll()
        yield member


@pytest.fixture
async def enrolled(ada: Member, clock: FakeTime) -> Member:
    """Ada with an app, in a time step that no code was used in."""
    await ada.enroll()
    clock.now += timedelta(minutes=1)
    return ada


@pytest.fixture
async def phone(app: Litestar, enrolled: Member) -> AsyncIterator[Member]:
    """Ada's second browser, signed out."""
    async with another_browser(app, enrolled) as member:
        yield member
