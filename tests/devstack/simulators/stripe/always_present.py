"""A second oracle: fields that Stripe always sends, null where there is nothing to say.

stripe-python declares both kinds Optional, and yet a field that is missing raises AttributeError where a null one does
not. stripe-node 23.1.0, generated from the same description of the same API version, tells them apart
(`field: T | null` against `field?: T`). `always_present.json` lists, for each object that the simulator shows, the
former as dotted paths.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_PATHS: Final[dict[str, list[str]]] = {
    kind: paths.split()
    for kind, paths in json.loads(Path(__file__).with_name("always_present.json").read_text()).items()
}


def absentees(document: Any) -> list[str]:
    """What is missing from `document` and from every object inside it."""
    return sorted(set(_absentees(document)))


def _absentees(document: Any) -> Iterator[str]:
    if isinstance(document, list):
        for member in document:
            yield from _absentees(member)
    elif isinstance(document, dict):
        kind = document.get("object")
        if isinstance(kind, str) and not document.get("deleted"):
            yield from (f"{kind}.{path}" for path in _PATHS.get(kind, ()) if not _holds(document, path))
        for member in document.values():
            yield from _absentees(member)


def _holds(document: dict[str, Any], path: str) -> bool:
    """Whether the field is there wherever the object that should have it is there."""
    *parents, name = path.split(".")
    owners: list[Any] = [document]
    for parent in parents:
        key, many = parent.removesuffix("[]"), parent.endswith("[]")
        below = [owner.get(key) for owner in owners]
        owners = [member for value in below for member in ((value or []) if many else [value])]
        owners = [owner for owner in owners if isinstance(owner, dict)]
    return all(name in owner for owner in owners)
