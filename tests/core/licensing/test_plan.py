"""A plan's limits as one value: every place that names them follows `RESOURCES`."""

from typing import Any

import msgspec
import pytest

from billing_api.commerce.plans.schemas import PlanView
from billing_api.licensing.licenses.admin_schemas import LimitsGiven
from billing_api.licensing.licenses.schemas import LicenseView
from core.licensing.plan import LIMITS, RESOURCES, Limits, with_limits
from db.models.licensing import License, Plan

GIVEN = Limits((*range(len(RESOURCES) - 1), None))


def test_each_resource_has_its_own_limit() -> None:
    assert [GIVEN.of(resource) for resource in RESOURCES] == list(GIVEN.values)
    assert GIVEN.by_resource()["accounts"] == 0
    assert GIVEN.by_name() == {f"max_{name}": limit for name, limit in GIVEN.by_resource().items()}
    assert Limits.read({**GIVEN.by_name(), "id": 1}) == GIVEN


@pytest.mark.parametrize("kind", [Plan, License])
def test_a_row_takes_them_and_gives_them_back(kind: Any) -> None:
    row = kind(limits=GIVEN)
    assert row.max_accounts == 0
    assert row.limits == GIVEN
    assert set(LIMITS) <= set(kind.__table__.columns.keys())


@pytest.mark.parametrize("shown", [PlanView, LicenseView, LimitsGiven])
def test_the_wire_has_a_field_for_each(shown: type[msgspec.Struct]) -> None:
    assert set(LIMITS) <= set(shown.__struct_fields__)


def test_a_default_makes_them_optional() -> None:
    class Facts(msgspec.Struct, kw_only=True):
        name: str

    assert with_limits(Facts, int | None, default=None)(name="a").max_domains is None
    with pytest.raises(TypeError, match="max_accounts"):
        with_limits(Facts, int | None)(name="a")
