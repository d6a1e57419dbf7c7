"""compose.yaml: what waits for what when an installation is started or updated."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.servers import ROOT

SERVICES: dict[str, Any] = YAML(typ="safe").load(ROOT / "compose.yaml")["services"]


@pytest.mark.parametrize("service", ["billing_api", "workers"])
def test_no_service_waits_for_what_needs_stripe(service: str) -> None:
    waits_for = SERVICES[service]["depends_on"]
    assert waits_for["migrate"] == {"condition": "service_completed_successfully"}
    assert set(waits_for) == {"migrate", "valkey"}


def test_plans_are_published_beside_the_services_and_again_while_stripe_is_away() -> None:
    assert not [name for name, service in SERVICES.items() if "seed" in service.get("depends_on", {})]
    assert SERVICES["seed"]["restart"].startswith("on-failure")
