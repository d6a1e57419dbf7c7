"""Calls that the OpenAPI document describes, and some invalid ones, sent to the application."""

from contextlib import suppress
from typing import Any

import httpx
import requests  # Schemathesis comes with it
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import APIOperation, Case

from tests.support.people import Headers

AnyCase = Case[Any]
AnyOperation = APIOperation[Any, Any, Any, Any]

BASE = "http://billing.test"
_ASKED = ("method", "url", "headers", "cookies", "params", "data", "json", "files")


def examples(strategy: SearchStrategy[AnyCase], count: int) -> list[AnyCase]:
    """The same cases in every run. None where nothing can be invalid: no parameters and no body."""
    found: list[AnyCase] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(case: AnyCase) -> None:
        found.append(case)

    with suppress(Unsatisfiable):
        collect()
    return found[:count]


async def send(client: httpx.AsyncClient, case: AnyCase, who: Headers) -> httpx.Response:
    """Sends the case with these headers, which replace the credentials that the case generated."""
    asked = case.as_transport_kwargs(base_url=BASE)
    prepared = requests.Request(**{name: asked[name] for name in _ASKED if name in asked}).prepare()
    ours = {name.lower() for name in who} | {"content-length", "authorization"}
    headers = [(_raw(name), _raw(value)) for name, value in prepared.headers.items() if name.lower() not in ours]
    headers += [(_raw(name), _raw(value)) for name, value in who.items()]
    method, url, body = str(prepared.method), str(prepared.url), prepared.body
    assert body is None or isinstance(body, bytes | str)
    return await client.request(method, url, content=body, headers=headers)


def _raw(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8")
