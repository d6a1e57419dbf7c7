"""Terms of a license: its limits and its expiry, from the plan, the payments and the decisions of staff.

A file of its own because two domains write them: the mirror, when Stripe's object has another plan or a paid period,
and the admin's routes. Limits come from the plan and from staff's overrides. The expiry comes from the paid period and
from staff's extension. Neither source removes what the other one gave.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from billing_api.licensing.licenses.issuing import Term
from core.jobs import AlignAccount
from core.licensing.overrides import Override, override
from core.licensing.plan import LIMITS
from db.models.licensing import License, Plan
from db.reads import Record
from db.unit_of_work import PrivilegedTransaction


def limits_on(plan: Plan | Record, overrides: Mapping[str, Any]) -> dict[str, int | None]:
    """The limits of a license with these overrides on this plan."""
    given = {name: msgspec.convert(value, Override) for name, value in overrides.items()}
    return {name: given[name].applied(getattr(plan, name)) if name in given else getattr(plan, name) for name in LIMITS}


def set_overrides(license_: License, plan: Plan, limits: Mapping[str, int | None]) -> None:
    """Sets limits by staff: in force at once, and kept as overrides on later plans."""
    overrides = dict(license_.limit_overrides)
    for name, limit in limits.items():
        setattr(license_, name, limit)
        said = override(limit, getattr(plan, name))
        if said is None:
            overrides.pop(name, None)
        else:
            overrides[name] = msgspec.to_builtins(said)
    license_.limit_overrides = overrides


async def apply_plan(tx: PrivilegedTransaction, license_: License, plan: Plan) -> None:
    """Gives the license this plan, and writes the job that tells NextPanel. Usage stays as it is."""
    before = {"license_type": license_.license_type, **{name: getattr(license_, name) for name in LIMITS}}
    license_.plan_id = plan.id
    license_.license_type = plan.license_type
    license_.features = plan.features
    for name, limit in limits_on(plan, license_.limit_overrides).items():
        setattr(license_, name, limit)
    await tx.enqueue(AlignAccount(license_.id))
    after = {"license_type": license_.license_type, **{name: getattr(license_, name) for name in LIMITS}}
    kept = license_.limit_overrides
    await tx.audit("license.plan_changed", "license", license_.id, before=before, after=after, overrides=kept)


def set_paid_period(license_: License, term: Term) -> None:
    """Sets the paid period. The license never ends before staff's extension."""
    assert term.expiry is not None
    license_.expiry_date = max(term.expiry, license_.extended_until or term.expiry)
    license_.grace_until = term.grace_until
