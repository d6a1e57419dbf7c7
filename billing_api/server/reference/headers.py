"""Headers of answers: what every answer tells beside its body, described once under `components.headers`."""

from collections.abc import Mapping
from typing import Any, Final

Json = dict[str, Any]

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "X-Request-Id": ("The name of this request in our logs: the one that was sent, or one of ours.", "9f2c41d0"),
    "RateLimit": (
        "What is left of each limit that counted this request, and when it is full again.",
        '"user";r=97;t=2',
    ),
    "RateLimit-Policy": ("Each limit that counted this request: how many requests in how many s.", '"user";q=100;w=60'),
    "Idempotency-Replayed": ("`true`: this is the answer of an earlier request with the same key.", "true"),
    "Retry-After": ("In how many seconds to try again.", "12"),
}
_OF_ALL: Final = ("X-Request-Id",)
_COUNTED: Final = ("RateLimit", "RateLimit-Policy")
_WAITS: Final = frozenset({"429", "503"})


def components() -> Json:
    return {
        name: {"description": text, "schema": {"type": "string"}, "example": example}
        for name, (text, example) in _TEXTS.items()
    }


def describe_headers(operation: Json, status: int, *, is_signed: bool) -> None:
    """`status`: that of success. Of signed requests only failures are counted, so they tell of no limit."""
    takes_key = any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", ()))
    names = [*_OF_ALL, *(() if is_signed else _COUNTED), *(("Idempotency-Replayed",) if takes_key else ())]
    operation["responses"][str(status)]["headers"] = _references(names)
    for code, response in operation["responses"].items():
        if code in _WAITS:
            response["headers"] = _references(["Retry-After"])


def _references(names: list[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
