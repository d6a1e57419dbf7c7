"""Walks over every operation that the application documents: a new route is walked without being named here."""

from typing import Any

import pytest
from litestar import Litestar
from schemathesis import APIOperation
from schemathesis.openapi import from_dict

Operations = list[APIOperation[Any, Any, Any, Any]]


@pytest.fixture(scope="session")
def operations(app: Litestar) -> Operations:
    """What the application says that it does."""
    described: dict[str, Any] = app.openapi_schema.to_schema()
    return [found.ok() for found in from_dict(described).get_all_operations()]
