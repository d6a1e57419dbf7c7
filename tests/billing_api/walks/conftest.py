"""Walks over every documented operation: a new route is included without being named here."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest
from litestar import Litestar
from schemathesis.core.result import Ok
from schemathesis.openapi import from_dict

from billing_api.server.reference.document import document
from db.models.licensing import Plan
from tests.support.databases import change, rows
from tests.support.secrecy import WATCH
from tests.support.servers import DatabaseUrls
from tests.support.walking import AnyOperation

Operations = list[AnyOperation]
_CHANGED: Final = ", ".join(f"{column.name} = was.{column.name}" for column in Plan.__table__.columns)


@pytest.fixture(scope="session")
def operations(app: Litestar) -> Operations:
    """The application's OpenAPI document."""
    found = list(from_dict(document(app)).get_all_operations())
    readable = [one.ok() for one in found if isinstance(one, Ok)]
    assert len(readable) == len(found)
    return readable


@pytest.fixture(autouse=True)
def _made_up() -> Iterator[None]:
    with WATCH.learning_nothing():
        yield


@pytest.fixture(autouse=True)
async def _plans_stay(database_urls: DatabaseUrls) -> AsyncIterator[None]:
    """A walk edits and retires plans, which other tests buy, and which no test's end deletes."""
    [known] = await rows(database_urls, "SELECT CAST(jsonb_agg(to_jsonb(plans)) AS text) AS plans FROM plans")
    yield
    back = f"UPDATE plans SET {_CHANGED} FROM jsonb_populate_recordset(NULL\\:\\:plans, CAST(:known AS jsonb)) AS was"
    restored = await change(database_urls, f"{back} WHERE plans.id = was.id", known=known["plans"])
    assert restored == len(json.loads(known["plans"]))
