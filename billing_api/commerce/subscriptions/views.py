"""A subscription with all that a view of it tells: what SQL reads and the wire shows."""

from typing import NamedTuple

from db.models.commerce import Subscription
from db.models.licensing import License, Plan


class Shown(NamedTuple):
    """A subscription with all that its view tells of."""

    subscription: Subscription
    license: License
    plan: Plan
    pending_plan: Plan | None
