"""Catalogue for seeded licenses: the plans in the database, and the epoch of the projection."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from core.licensing.plan import LIMITS, RESOURCES, Resource

SHARES: Final = {"starter": 60, "professional": 30, "enterprise": 10}
"""Of a hundred licenses of `--plan mix`."""

_PLANS: Final = f"""
    SELECT id, license_type::text, features::text, {", ".join(LIMITS)}
    FROM plans WHERE is_active ORDER BY price_monthly
"""  # noqa: S608  names of columns, written in our code


class Plan(NamedTuple):
    """A plan as a license copies it; a limit of None is unlimited. `features` is JSON text."""

    id: UUID
    license_type: str
    features: str
    limits: tuple[int | None, ...]

    @property
    def flags(self) -> dict[str, bool]:
        """Only plain flags are projected; all else in a plan describes, and grants nothing."""
        features: dict[str, Any] = msgspec.json.decode(self.features)
        return {name: value for name, value in features.items() if isinstance(value, bool)}

    @property
    def limit_of(self) -> dict[Resource, int | None]:
        return dict(zip(RESOURCES, self.limits, strict=True))


async def plans_for(connection: Any, choice: str) -> list[tuple[Plan, int]]:
    """The plans to issue, each with its share of a hundred. `choice`: `mix`, or a plan's license type."""
    shares = SHARES if choice == "mix" else {choice: 100}
    found = [_plan(row) for row in await connection.fetch(_PLANS)]
    chosen = [(plan, shares[plan.license_type]) for plan in found if plan.license_type in shares]
    if {plan.license_type for plan, _ in chosen} != shares.keys():
        raise LookupError(f"the database does not offer {' and '.join(shares)}: has it been migrated and seeded?")
    return chosen


def _plan(row: Sequence[Any]) -> Plan:
    plan_id, license_type, features, *limits = row
    return Plan(plan_id, license_type, features, tuple(limits))
