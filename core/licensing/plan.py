"""What a licence may be limited in, and which feature draws on which resource."""

from typing import Final, Literal

import msgspec

Resource = Literal["accounts", "domains", "databases", "emails", "storage_gb"]

RESOURCES: Final[tuple[Resource, ...]] = ("accounts", "domains", "databases", "emails", "storage_gb")

RESOURCE_OF_FEATURE: Final[dict[str, Resource]] = {
    "create_account": "accounts",
    "create_domain": "domains",
    "create_database": "databases",
    "create_email": "emails",
}
"""Features that use something up; every other feature is a plain flag of the licence's `features`."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The most of each resource; None is unlimited."""

    accounts: int | None
    domains: int | None
    databases: int | None
    emails: int | None
    storage_gb: int | None

    def of(self, resource: Resource) -> int | None:
        limit: int | None = getattr(self, resource)
        return limit
