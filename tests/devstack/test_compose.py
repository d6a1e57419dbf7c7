"""compose.yaml: what waits for what when an installation is started or updated, and whether its processes start."""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from ruamel.yaml import YAML
from typing_extensions import override

from core import settings
from core.settings import BadSettings
from tests.support.servers import ROOT

COMPOSE: Final[dict[str, Any]] = YAML(typ="safe").load(ROOT / "compose.yaml")
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
KEY: Final = base64.b64encode(bytes(range(32))).decode()
READ_BY: Final[Mapping[str, Callable[[Mapping[str, str]], Any]]] = {
    "migrate": settings.migration_settings,
    "seed": settings.api_settings,
    "billing_api": settings.api_settings,
    "validator": settings.validator_settings,
    "workers": settings.worker_settings,
}
SERVERS: Final = {"postgres", "valkey"}


def an_answer(name: str, hint: str) -> str:
    """What a person puts in who reads why compose refuses to go on."""
    if command := re.fullmatch(r"(\w+):KEY where KEY is what openssl rand -base64 32 prints", hint):
        return f"{command[1]}:{KEY}"
    if "openssl rand -base64 32" in hint:
        return KEY
    return "https://somewhere.example" if "address" in hint else f"of-{name.lower()}"


def resolved(service: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of its container, as compose makes it of what a person has set."""

    def filled(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if given is not None and name in given:
            return given[name]
        return an_answer(name, rest) if kind == "?" else rest or ""

    environment = SERVICES[service]["environment"]
    return {name: VARIABLE.sub(filled, str(value)) for name, value in environment.items()}


@pytest.mark.parametrize("service", ["billing_api", "workers"])
def test_no_service_waits_for_what_needs_stripe(service: str) -> None:
    waits_for = SERVICES[service]["depends_on"]
    assert waits_for["migrate"] == {"condition": "service_completed_successfully"}
    assert set(waits_for) == {"migrate", "valkey"}


def test_plans_are_published_beside_the_services_and_again_while_stripe_is_away() -> None:
    assert not [name for name, service in SERVICES.items() if "seed" in service.get("depends_on", {})]
    assert SERVICES["seed"]["restart"].startswith("on-failure")


def test_every_service_of_ours_is_looked_at() -> None:
    assert set(SERVICES) == READ_BY.keys() | SERVERS


@pytest.mark.parametrize("service", READ_BY)
def test_what_a_process_is_given_is_enough_for_it(service: str) -> None:
    """Where each variable that compose demands is set as its text says, and nothing else."""
    assert READ_BY[service](resolved(service)) is not None


@pytest.mark.parametrize("service", READ_BY)
def test_a_process_is_given_nothing_that_it_does_not_read(service: str) -> None:
    """A name with a slip of the pen would be ignored."""
    environment, asked = resolved(service), set[str]()

    class Noticed(dict[str, str]):
        @override
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

    READ_BY[service](Noticed(environment))
    assert environment.keys() - asked == set()


@pytest.mark.parametrize("name", ["NP_KEK", "NP_INDEX_KEY", "NP_AUDIT_KEYS", "NP_LEASE_KEYS"])
def test_a_key_that_is_missing_keeps_the_workers_from_starting(name: str) -> None:
    with pytest.raises(BadSettings, match=f"{name} is not set"):
        settings.worker_settings({n: value for n, value in resolved("workers").items() if n != name})


def test_every_setting_is_described_and_every_key_is_said_to_be_secret() -> None:
    told = (ROOT / "docs" / "operations.md").read_text()
    secret = (ROOT / "docs" / "security.md").read_text()
    given = {name for service in READ_BY for name in resolved(service)}
    assert sorted(name for name in given if f"`{name}`" not in told) == []
    keys = {name for name in given if re.fullmatch(r"NP_(KEK|\w+_KEYS?)", name)}
    assert keys >= {"NP_KEK", "NP_INDEX_KEY", "NP_JWT_KEYS", "NP_AUDIT_KEYS", "NP_LEASE_KEYS"}
    assert sorted(name for name in keys if f"`{name}`" not in secret) == []
