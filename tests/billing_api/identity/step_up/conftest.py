"""Fixtures of the step-up: customers with and without an authenticator app, signed in for longer than it lasts."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from litestar import Litestar

from tests.billing_api.conftest import FakeTime
from tests.support.members import Member, a_member
from tests.support.people import Desk


@pytest.fixture
async def ada(app: Litestar, desk: Desk, clock: FakeTime) -> AsyncIterator[Member]:
    """A user without an authenticator app."""
    async with a_member(app, desk) as member:
        clock.now += timedelta(minutes=6)
        yield member


@pytest.fixture
async def bob(app: Litestar, desk: Desk, clock: FakeTime) -> AsyncIterator[Member]:
    """A user with an authenticator app, signed in with both factors."""
    async with a_member(app, desk) as member:
        await member.enroll()
        clock.now += timedelta(minutes=6)
        yield member
