"""Plan limits: the resources that a plan limits, their limits as one value, and which feature draws on which resource.

A new resource is one more name in `Resource`, and a migration that adds its column `max_NAME` to plans and licenses.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

Resource = Literal["accounts", "domains", "databases", "emails", "storage_gb"]

RESOURCES: Final[tuple[Resource, ...]] = get_args(Resource)
LIMITS: Final = tuple(f"max_{resource}" for resource in RESOURCES)
"""The name of each resource's limit, in the order of `RESOURCES`: its column, and its field in JSON."""
_EXAMPLES: Final[Mapping[Resource, int]] = {
    "accounts": 5,
    "domains": 25,
    "databases": 50,
    "emails": 100,
    "storage_gb": 100,
}
"""The limits of the plan that the API's examples speak of."""
_PLACE: Final = {resource: place for place, resource in enumerate(RESOURCES)}

RESOURCE_OF_FEATURE: Final[dict[str, Resource]] = {
    "create_account": "accounts",
    "create_domain": "domains",
    "create_database": "databases",
    "create_email": "emails",
}
"""Features that use something up; every other feature is a plain flag of the license's `features`."""


class Limits(msgspec.Struct, frozen=True):
    """The most of each resource, in the order of `RESOURCES`; None is unlimited."""

    values: tuple[int | None, ...]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Limits":
        """From a row with the columns `LIMITS`."""
        return cls(tuple(row[name] for name in LIMITS))

    def of(self, resource: Resource) -> int | None:
        return self.values[_PLACE[resource]]

    def by_resource(self) -> dict[Resource, int | None]:
        return dict(zip(RESOURCES, self.values, strict=True))

    def by_name(self) -> dict[str, int | None]:
        return dict(zip(LIMITS, self.values, strict=True))


def _described(kind: Any, resource: Resource) -> Any:
    of_what = "GB of storage" if resource == "storage_gb" else resource
    text = f"How many {of_what} at most; null is unlimited."
    return Annotated[kind, msgspec.Meta(description=text, examples=[_EXAMPLES[resource]])]


def with_limits(before: type[msgspec.Struct], kind: Any, **default: Any) -> Any:
    """A struct with the fields of `before` and, behind them, one of type `kind` for each of `LIMITS`.

    `default`, if it is given, is that of each limit.
    """
    fields = [
        (name, _described(kind, resource), *default.values()) for name, resource in zip(LIMITS, RESOURCES, strict=True)
    ]
    return msgspec.defstruct(f"{before.__name__}WithLimits", fields, bases=(before,), frozen=True, kw_only=True)
