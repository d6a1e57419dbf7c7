"""A customer with a license and OAuth clients."""

from collections.abc import AsyncIterator

import pytest
from litestar import Litestar

from tests.support.members import Member, a_member
from tests.support.people import Desk


@pytest.fixture
async def ada(app: Litestar, desk: Desk) -> AsyncIterator[Member]:
    async with a_member(app, desk) as member:
        yield member


@pytest.fixture
async def bob(app: Litestar, desk: Desk) -> AsyncIterator[Member]:
    async with a_member(app, desk) as member:
        yield member
