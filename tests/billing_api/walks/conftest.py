"""Walks over every documented operation: a new route is included without being named here."""

from collections.abc import Iterator

import pytest
from litestar import Litestar
from schemathesis.core.result import Ok
from schemathesis.openapi import from_dict

from billing_api.server.reference.document import document
from tests.support.secrecy import WATCH
from tests.support.walking import AnyOperation

Operations = list[AnyOperation]


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
