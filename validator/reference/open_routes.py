"""Routes of the validator that need no signature, for its OpenAPI document."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from core.hotstore.functions import NotReady


class _Open(NamedTuple):
    """A route without a signature. `unavailable`: what a 503 means there, if there is one."""

    summary: str
    text: str
    told: Mapping[str, Any]
    unavailable: str | None = None
    media_type: str = "application/json"


_OPEN: Final[Mapping[str, _Open]] = {
    "/.well-known/jwks.json": _Open(
        "The public keys of leases (RFC 7517)",
        "If a lease names a key that is not in the set, read the set again without a cache.",
        {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "alg": "EdDSA",
                    "use": "sig",
                    "kid": "l1",
                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                }
            ]
        },
        NotReady.title,
        "application/jwk-set+json",
    ),
    "/schema/openapi.json": _Open("This document", "OpenAPI 3.1, the same in every process.", {"openapi": "3.1.0"}),
    "/health/live": _Open(
        "No part of the process is dead",
        "For supervisors.",
        {"status": "ok", "now": 1_795_363_200, "parts": {"refresher": {"state": "ok", "last_success": 1_795_363_200}}},
        "A part is dead; the process is about to end",
    ),
    "/health/ready": _Open(
        "The process may be sent requests",
        "For load balancers.",
        {"status": "ok"},
        "Not yet, or no longer; the body tells why",
    ),
    "/health/dependencies": _Open(
        "The state of Redis, as this process sees it; always 200",
        "A server that is away is no reason to restart this process.",
        {"status": "ok", "lacking": [], "dependencies": {"redis": "ok"}},
    ),
}


def open_paths() -> dict[str, Any]:
    """The routes that need no signature."""
    return {
        path: {
            "get": {
                "operationId": path.rpartition("/")[2].partition(".")[0],
                "summary": one.summary,
                "description": one.text,
                "security": [],
                "responses": _open_responses(one),
            }
        }
        for path, one in _OPEN.items()
    }


def _open_responses(one: _Open) -> dict[str, Any]:
    content = {one.media_type: {"schema": {"type": "object"}, "example": one.told}}
    responses: dict[str, Any] = {"200": {"description": one.summary, "content": content}}
    if one.unavailable is not None:
        responses["503"] = {"description": one.unavailable}
    return responses
