"""Column types: an instant keeps its offset from UTC, and the models bring no web framework with them."""

import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import StatementError

from core.ids import new_id
from db.models.identity import Role, User
from db.unit_of_work import Database
from tests.support.databases import opened
from tests.support.servers import ROOT, DatabaseUrls

KATHMANDU = timezone(timedelta(hours=5, minutes=45))
AT_NOON = datetime(2027, 2, 28, 12)  # noqa: DTZ001  without an offset, to be refused


async def _written(database: Database, instant: datetime) -> datetime | None:
    row = {"id": new_id(), "email": "ada@example.com", "password_hash": "", "full_name": "", "role": Role.CUSTOMER}
    async with database.as_system() as tx:
        await tx.session.execute(insert(User).values(row | {"email_verified_at": instant}))
        return await tx.session.scalar(select(User.email_verified_at))


async def test_an_instant_is_the_same_whatever_its_offset(database_urls: DatabaseUrls) -> None:
    given = AT_NOON.replace(tzinfo=KATHMANDU)
    async with opened(database_urls) as database:
        kept = await _written(database, given)
    assert kept == given
    assert kept.utcoffset() == timedelta()


async def test_a_datetime_without_its_offset_is_refused(database_urls: DatabaseUrls) -> None:
    async with opened(database_urls) as database:
        with pytest.raises(StatementError, match="an instant needs its offset from UTC"):
            await _written(database, AT_NOON)


def test_workers_load_no_web_framework() -> None:
    """Each start would pay for it; the import contracts do not see what a library imports."""
    program = "import sys, workers.runtime; print(sorted({'litestar', 'pydantic', 'starlette'} & sys.modules.keys()))"
    done = subprocess.run((sys.executable, "-c", program), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
