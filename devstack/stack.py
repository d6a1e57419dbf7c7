"""The stack of this project, as data for the supervisor: processes, their commands, environments and order.

Each process is given what it needs and no more; above all the validator gets no database, which keeps it honest.
"""

import re
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from devstack.choices import Choices
from devstack.keyring import Keyring
from devstack.leash import Launch
from devstack.parts import Node, Part, Plan, Service, Stack, Step
from devstack.ports import fixed_port
from devstack.postgres import Postgres
from devstack.valkey import Valkey

ROOT: Final = Path(__file__).resolve().parent.parent
DATABASE: Final = "nextpanel_billing"
_OWNER: Final = "np_owner"
_DATABASES: Final = ("DATABASE_URL", "WORKER_DATABASE_URL", "OWNER_DATABASE_URL")
_HERE: Final = "127.0.0.1"
_SECRET: Final = re.compile(r"KEY|KEK|SECRET|PASSW|TOKEN|CREDENTIAL|AUTH|DSN|DATABASE_URL|REDIS_URL|NP_DEMO_")
"""Variables that may hold one, also of a person's own for other programs. A process gets those that it names below."""
_SEALING: Final = ("NP_KEK", "NP_INDEX_KEY")
_REDIS: Final = ("REDIS_URL", "QUEUE_REDIS_URL")
_EVENTS: Final = ("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRETS")
_DEMO: Final = ("NP_DEMO_ADMIN", "NP_DEMO_CUSTOMER", "NP_DEMO_PLATFORM_KEY")
_PUBLISHED: Final = "STRIPE_PUBLISHABLE_KEY"
"""Named like a secret, and none: the portal's pages hold it."""
_API: Final = ("DATABASE_URL", *_REDIS, *_SEALING, "NP_JWT_KEYS", *_EVENTS)
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "stripe": _EVENTS,
    "nextpanel": ("NEXTPANEL_JWT_SECRET",),
    "mail": (),
    "migrate": _DATABASES,
    "moved-clock": _DATABASES,
    "seed": _API,
    "demo-users": (*_API, *_DEMO),
    "billing_api": (*_API, _PUBLISHED),
    "workers": (
        "WORKER_DATABASE_URL",
        *_REDIS,
        *_SEALING,
        *("STRIPE_API_KEY", "NEXTPANEL_JWT_SECRET", "NP_LEASE_KEYS", "NP_AUDIT_KEYS"),
    ),
    "validator": ("REDIS_URL", *_SEALING),
}
"""The secrets of each process."""
_LIMITS: Final = ",".join(f"{name}=600/60" for name in ("login", "register", "password", "activation", "search"))
"""Here all clients have one address, which must not be taken for one guesser."""


def wanted_ports(choices: Choices) -> dict[str, int]:
    """The ports that this stack needs, by name, and how many in a row."""
    simulators = {"stripe": "STRIPE_API_KEY", "nextpanel": "NEXTPANEL_URL", "mail": "MAIL_URL"}
    servers = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}
    stand_ins = [name for name, replacement in (simulators | servers).items() if replacement not in choices.replaced]
    own = {"api": 1, "api_metrics": 1, "validator": 1, "worker": 1, "validator_metrics": choices.validator_processes}
    return own | dict.fromkeys(stand_ins, 1)


def describe(choices: Choices, keyring: Keyring, ports: Mapping[str, int]) -> Stack:
    postgres = Postgres(
        data=choices.data / "postgres",
        port=ports.get("postgres", 0),
        password=keyring.postgres_password,
        max_connections=choices.max_connections,
    )
    valkey = Valkey(data=choices.data / "valkey", port=ports.get("valkey", 0))
    env = _environment(choices, keyring, ports, postgres, valkey)
    nodes: list[Node] = []
    if "postgres" in ports:
        create = partial(postgres.ensure_database, DATABASE, owner=_OWNER, password=keyring.owner_password)
        nodes += [
            Part(name="postgres", server=postgres, patience=30),
            Step(name="database", work=create, after=("postgres",)),
        ]
    if "valkey" in ports:
        nodes.append(Part(name="valkey", server=valkey))
    nodes += _simulators(choices, env, ports)
    nodes += _our_own(choices, env, frozenset(node.name for node in nodes))
    return Stack(tuple(nodes), _facts(env, ports))


def _environment(
    choices: Choices, keyring: Keyring, ports: Mapping[str, int], postgres: Postgres, valkey: Valkey
) -> dict[str, str]:
    """Secrets as defaults, overridden by the person's settings, and these by values fixed here."""
    defaults = {
        "NP_KEK": keyring.kek,
        "NP_INDEX_KEY": keyring.index_key,
        "NP_JWT_KEYS": keyring.jwt_keys,
        "NP_AUDIT_KEYS": keyring.audit_keys,
        "NP_DEMO_ADMIN": f"admin@example.com:{keyring.admin_password}",
        "NP_DEMO_CUSTOMER": f"customer@example.com:{keyring.customer_password}",
        "NP_DEMO_PLATFORM_KEY": f"{keyring.platform_key_id}:{keyring.platform_key_secret}",
        "NP_LIMITS": _LIMITS,
        "NP_SELLER_NAME": "NextPanel",
        "NP_SUPPORT_EMAIL": "support@example.com",
        "NP_PUBLIC_URL": f"http://{_reached_at(choices.host)}:{ports['api']}",
        "XDG_CONFIG_HOME": str(choices.data / "config"),  # the stripe package leaves a file there
    }
    settled = {
        "NP_ENVIRONMENT": "devstack",
        "NP_DATA": str(choices.data),
        "NP_HOST": choices.host,
        "NP_API_PORT": str(ports["api"]),
        "NP_API_METRICS_PORT": str(ports["api_metrics"]),
        "NP_API_PROCESSES": str(choices.api_processes),
        "NP_VALIDATOR_PORT": str(ports["validator"]),
        "NP_VALIDATOR_PROCESSES": str(choices.validator_processes),
        "NP_VALIDATOR_METRICS_PORT": str(ports["validator_metrics"]),
        "NP_WORKER_PORT": str(ports["worker"]),
        "NP_CORS_ORIGINS": ",".join(_origins(choices, ports)),
        "PYTHONUNBUFFERED": "1",
    }
    return defaults | dict(choices.env) | _stand_ins(keyring, ports, postgres, valkey) | settled


def _origins(choices: Choices, ports: Mapping[str, int]) -> list[str]:
    """A person opens pages by either name of this machine, and browsers take these for two origins."""
    names = dict.fromkeys(("localhost", _HERE, _reached_at(choices.host)))
    own = [f"http://{name}:{port}" for name in names for port in (ports["api"], fixed_port("portal", choices.env))]
    return [*own, *filter(None, [choices.env.get("NP_CORS_ORIGINS")])]


def _stand_ins(keyring: Keyring, ports: Mapping[str, int], postgres: Postgres, valkey: Valkey) -> dict[str, str]:
    """How the stand-ins that are started, which have a port, are reached."""
    reached = {
        "postgres": {
            "OWNER_DATABASE_URL": postgres.url(DATABASE, _OWNER, keyring.owner_password),
            "DATABASE_URL": postgres.url(DATABASE, "np_api", keyring.api_password),
            "WORKER_DATABASE_URL": postgres.url(DATABASE, "np_worker", keyring.worker_password),
        },
        "valkey": {"REDIS_URL": valkey.url},
        "stripe": {
            "STRIPE_API_KEY": keyring.stripe_api_key,
            _PUBLISHED: keyring.stripe_publishable_key,
            "STRIPE_API_BASE": _local(ports, "stripe"),
            "STRIPE_WEBHOOK_SECRETS": keyring.stripe_webhook_secret,
        },
        "nextpanel": {
            "NEXTPANEL_URL": _local(ports, "nextpanel"),
            "NEXTPANEL_JWT_SECRET": keyring.nextpanel_jwt_secret,
        },
        "mail": {"MAIL_URL": _local(ports, "mail")},
    }
    return {variable: value for name in reached if name in ports for variable, value in reached[name].items()}


def _simulators(choices: Choices, env: Mapping[str, str], ports: Mapping[str, int]) -> list[Part]:
    webhook = f"http://{_reached_at(choices.host)}:{env['NP_API_PORT']}/api/v1/webhooks/stripe"
    workers = f"http://{_reached_at(choices.host)}:{env['NP_WORKER_PORT']}"
    flags: dict[str, tuple[str, ...]] = {
        "stripe": ("--after-retries=past_due", f"--webhook={webhook}", f"--workers={workers}"),
        "nextpanel": (),
        "mail": (),
    }
    return [
        Part(
            name=name,
            server=Service(
                argv=(
                    *(sys.executable, "-m", f"devstack.simulators.{name}"),
                    *("--port", str(ports[name]), "--data", str(choices.data / name), *flags[name]),
                ),
                env=_given(env, name),
                cwd=ROOT,
                health=f"{_local(ports, name)}/health/ready",
            ),
        )
        for name in flags
        if name in ports
    ]


def _our_own(choices: Choices, env: Mapping[str, str], stand_ins: frozenset[str]) -> list[Node]:
    """The project's own commands. Parts that the person's own servers replace are not waited for."""

    def after(*names: str) -> tuple[str, ...]:
        return tuple(
            name for name in names if name in stand_ins or name in ("migrate", "moved-clock", "seed", "demo-users")
        )

    def step(name: str, *words: str, earlier: tuple[str, ...]) -> Step:
        return Step(
            name=name, work=Launch(argv=(sys.executable, "-m", *words), env=_given(env, name), cwd=ROOT), after=earlier
        )

    def service(module: str, port: str, *, earlier: tuple[str, ...]) -> Part:
        health = f"http://{_reached_at(choices.host)}:{env[port]}/health/ready"
        argv = (sys.executable, "-m", module)
        given = _given(env, module)
        return Part(name=module, server=Service(argv=argv, env=given, cwd=ROOT, health=health), after=earlier)

    return [
        step("migrate", "db", "migrate", earlier=after("database")),
        step("moved-clock", "devstack.moved_clock", earlier=after("migrate")),
        step("seed", "billing_api", "seed", earlier=after("moved-clock", "valkey", "stripe")),
        step("demo-users", "billing_api", "demo-users", earlier=after("seed")),
        service(
            "billing_api",
            "NP_API_PORT",
            earlier=after("demo-users", "valkey", "stripe", "nextpanel", "mail"),
        ),
        service(
            "workers",
            "NP_WORKER_PORT",
            earlier=after("demo-users", "valkey", "stripe", "nextpanel", "mail"),
        ),
        service("validator", "NP_VALIDATOR_PORT", earlier=after("valkey")),
    ]


def _facts(env: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, Any]:
    host = _reached_at(env["NP_HOST"])
    admin, customer = (env[name].partition(":") for name in ("NP_DEMO_ADMIN", "NP_DEMO_CUSTOMER"))
    platform_key = env["NP_DEMO_PLATFORM_KEY"].partition(":")
    return {
        "billing_api": f"http://{host}:{ports['api']}",
        "validator": f"http://{host}:{ports['validator']}",
        "workers": f"http://{host}:{ports['worker']}",
        "portal": env.get("NP_PORTAL_URL"),
        "simulators": {name: _local(ports, name) for name in ("stripe", "nextpanel", "mail") if name in ports},
        "database_url": env["DATABASE_URL"],
        "worker_database_url": env["WORKER_DATABASE_URL"],
        "owner_database_url": env["OWNER_DATABASE_URL"],
        "redis_url": env["REDIS_URL"],
        "admin": {"email": admin[0], "password": admin[2]},
        "customer": {"email": customer[0], "password": customer[2]},
        "platform_key": {"key_id": platform_key[0], "secret": platform_key[2]},
    }


def _local(ports: Mapping[str, int], name: str) -> str:
    return f"http://{_HERE}:{ports.get(name, 0)}"


def _reached_at(host: str) -> str:
    """The address at which this machine reaches what listens on `host`."""
    return _HERE if host in ("0.0.0.0", "::") else host


def _given(env: Mapping[str, str], process: str) -> dict[str, str]:
    """What is no secret, and the secrets that this process needs. None stands on a command line, which all may read."""
    needed = _NEEDED[process]
    return {name: value for name, value in env.items() if name in needed or not _SECRET.search(name)}


THE_STACK: Final = Plan(wanted_ports, describe)
