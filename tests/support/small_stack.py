"""Small stack for tests of the supervisor: `python -m tests.support.small_stack`, with the real stack's NP_ variables.

`below` and `above` are small services; `above` starts after `below` and after a step. With SMALL_SERVERS there are also
a real PostgreSQL and Valkey. SMALL_BELOW and SMALL_ABOVE set their behavior, SMALL_STEP is the step's code.
"""

import sys
from collections.abc import Mapping
from typing import Any, Final

from core.settings import process_environment
from devstack.choices import Choices
from devstack.faults import CannotStart
from devstack.keyring import Keyring
from devstack.leash import Launch
from devstack.parts import Node, Part, Plan, Service, Stack, Step
from devstack.postgres import Postgres
from devstack.up import up
from devstack.valkey import Valkey
from tests.support.servers import ROOT

ABSENT: Final[dict[str, Any]] = {
    "portal": None,
    "simulators": {},
    "database_url": "",
    "owner_database_url": "",
    "redis_url": "",
}
PEOPLE: Final = {
    "admin": {"email": "", "password": ""},
    "customer": {"email": "", "password": ""},
    "platform_key": {"key_id": "", "secret": ""},
}


def wanted_ports(choices: Choices) -> dict[str, int]:
    servers = {"postgres": 1, "valkey": 1} if "SMALL_SERVERS" in choices.env else {}
    return {"api": 1, "validator": 1} | servers


def describe(choices: Choices, keyring: Keyring, ports: Mapping[str, int]) -> Stack:
    env = dict(choices.env)

    def service(name: str, port: int, *after: str) -> Part:
        diary = str(choices.data / "diary")
        argv = (sys.executable, "-m", "tests.support.small_service", str(port), diary)
        manners = tuple(env.get(f"SMALL_{name.upper()}", "").split())
        health = f"http://127.0.0.1:{port}/health/ready"
        server = Service(argv=argv + manners, env=env, cwd=ROOT, health=health)
        return Part(name=name, server=server, after=after, patience=30)

    step = Launch(argv=(sys.executable, "-c", env.get("SMALL_STEP", "")), env=env, cwd=ROOT)
    nodes: list[Node] = [
        service("below", ports["api"]),
        Step(name="step", work=step, after=("below",)),
        service("above", ports["validator"], "step"),
    ]
    facts = ABSENT | PEOPLE | {"billing_api": f":{ports['api']}", "validator": f":{ports['validator']}"}
    if "postgres" in ports:
        postgres = Postgres(
            data=choices.data / "postgres",
            port=ports["postgres"],
            password=keyring.postgres_password,
            max_connections=20,
        )
        valkey = Valkey(data=choices.data / "valkey", port=ports["valkey"])
        nodes += [Part(name="postgres", server=postgres), Part(name="valkey", server=valkey)]
        facts |= {"owner_database_url": postgres.url(), "redis_url": valkey.url}
    return Stack(tuple(nodes), facts)


if __name__ == "__main__":
    try:
        up(process_environment(), Plan(wanted_ports, describe))
    except CannotStart as fault:
        sys.exit(f"make up: {fault}")
