"""The engine: its exceptions end in logs, its parameters must not."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.engine import create_engine
from tests.support.servers import DatabaseUrls


async def test_an_exception_holds_no_parameter(database_urls: DatabaseUrls) -> None:
    engine = create_engine(database_urls.api, pool_size=1)
    try:
        with pytest.raises(DBAPIError) as failure:
            async with engine.begin() as connection:
                await connection.execute(text("SELECT CAST(:token AS text), 1 / 0"), {"token": "not-for-the-log"})
    finally:
        await engine.dispose()
    assert "division by zero" in str(failure.value)
    assert "not-for-the-log" not in f"{failure.value!s} {failure.value!r}"
