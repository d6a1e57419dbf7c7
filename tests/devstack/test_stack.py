"""The description of the stack: what each process gets, and what the person's own servers replace."""

from pathlib import Path

import pytest

from core.settings import api_settings, demo_settings, migration_settings, validator_settings, worker_settings
from db.condition import CONNECTIONS as HEALTH_CONNECTIONS
from db.driver import MOST_SESSIONS
from db.engine import POOL_SIZE
from db.reads import READERS, SYSTEM_READERS
from devstack.choices import Choices
from devstack.faults import CannotStart
from devstack.keyring import Keyring
from devstack.leash import Launch
from devstack.parts import Part, Stack, Step, levels
from devstack.stack import THE_STACK
from devstack.up import table
from workers.jobs.connection_budget import BESIDE_THE_POOL, POOL

KEYRING = Keyring()
OWN_DATABASE = {
    "DATABASE_URL": "postgresql://api:p@db/shop",
    "OWNER_DATABASE_URL": "postgresql://owner:p@db/shop",
    "WORKER_DATABASE_URL": "postgresql://worker:p@db/shop",
}


def describe(data: Path, **env: str) -> Stack:
    choices = Choices.read({"NP_DATA": str(data), "PATH": "/bin"} | env)
    ports = {name: 20_000 + 100 * number for number, name in enumerate(THE_STACK.wanted_ports(choices))}
    return THE_STACK.describe(choices, KEYRING, ports)


def launch(stack: Stack, name: str) -> Launch:
    node = next(node for node in stack.nodes if node.name == name)
    if isinstance(node, Step):
        assert isinstance(node.work, Launch)
        return node.work
    return node.server.launch()


def names(stack: Stack) -> set[str]:
    return {node.name for node in stack.nodes}


def test_every_process_can_read_its_settings_from_what_it_is_given(tmp_path: Path) -> None:
    stack = describe(tmp_path)
    assert api_settings(launch(stack, "billing_api").env).stripe.api_key == KEYRING.stripe_api_key
    assert worker_settings(launch(stack, "workers").env).nextpanel_jwt_secret == KEYRING.nextpanel_jwt_secret
    assert validator_settings(launch(stack, "validator").env).redis_url == stack.facts["redis_url"]
    assert migration_settings(launch(stack, "migrate").env).owner_database_url == stack.facts["owner_database_url"]
    demo = demo_settings(launch(stack, "demo-users").env)
    assert demo.platform_key == (KEYRING.platform_key_id, KEYRING.platform_key_secret)
    assert demo.admin == ("admin@example.com", stack.facts["admin"]["password"])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_pages_of_this_machine_may_call_by_either_of_its_names(tmp_path: Path, host: str) -> None:
    env = {"NP_HOST": host, "NP_PORTAL_PORT": "3301"}
    choices = Choices.read({"NP_DATA": str(tmp_path)} | env)
    ports = dict.fromkeys(THE_STACK.wanted_ports(choices), 8301)
    origins = api_settings(launch(THE_STACK.describe(choices, KEYRING, ports), "billing_api").env).cors_origins
    assert set(origins) == ORIGINS
    more = launch(describe(tmp_path, NP_CORS_ORIGINS="http://a.test,http://b.test"), "billing_api").env
    assert {"http://localhost:3001", "http://a.test", "http://b.test"} < set(api_settings(more).cors_origins)


def test_the_api_alone_publishes_the_simulators_publishable_key(tmp_path: Path) -> None:
    stack = describe(tmp_path)
    given = {name: launch(stack, name).env.get("STRIPE_PUBLISHABLE_KEY") for name in PROCESSES}
    assert {name for name, key in given.items() if key} == {"billing_api"}
    assert api_settings(launch(stack, "billing_api").env).portal.stripe_publishable_key == given["billing_api"]
    own = {"STRIPE_API_KEY": "sk_live_1", "STRIPE_WEBHOOK_SECRETS": "whsec_1"}
    assert "STRIPE_PUBLISHABLE_KEY" not in launch(describe(tmp_path, **own), "billing_api").env


def test_nobody_gets_a_database_role_that_is_not_his(tmp_path: Path) -> None:
    stack = describe(tmp_path)
    roles = {
        name: {role for role in ("DATABASE_URL", "WORKER_DATABASE_URL", "OWNER_DATABASE_URL") if role in given.env}
        for name in ("billing_api", "workers", "validator", "stripe", "nextpanel", "mail")
        for given in [launch(stack, name)]
    }
    assert roles == {
        "billing_api": {"DATABASE_URL"},
        "workers": {"WORKER_DATABASE_URL"},
        "validator": set(),
        "stripe": set(),
        "nextpanel": set(),
        "mail": set(),
    }


PROCESSES = ("migrate", "seed", "demo-users", "billing_api", "workers", "validator", "stripe", "nextpanel", "mail")
ORIGINS = {
    f"http://{name}:{port}" for name in ("localhost", "127.0.0.1") for port in (8301, 3301)
}  # fmt: skip
"""The API's and the portal's, by both names of this machine."""
SECRETS = {
    "NP_KEK": KEYRING.kek,
    "NP_INDEX_KEY": KEYRING.index_key,
    "NP_JWT_KEYS": KEYRING.jwt_keys,
    "NP_AUDIT_KEYS": KEYRING.audit_keys,
    "STRIPE_API_KEY": KEYRING.stripe_api_key,
    "STRIPE_WEBHOOK_SECRETS": KEYRING.stripe_webhook_secret,
    "NEXTPANEL_JWT_SECRET": KEYRING.nextpanel_jwt_secret,
    "owner": KEYRING.owner_password,
    "api": KEYRING.api_password,
    "worker": KEYRING.worker_password,
    "admin": KEYRING.admin_password,
    "platform": KEYRING.platform_key_secret,
    "superuser": KEYRING.postgres_password,
}
SERVES = {"NP_KEK", "NP_INDEX_KEY", "NP_JWT_KEYS", "STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRETS", "api"}
NEEDS = {
    "migrate": {"owner", "api", "worker"},
    "seed": SERVES,
    "demo-users": SERVES | {"admin", "platform"},
    "billing_api": SERVES,
    "workers": {"NP_KEK", "NP_INDEX_KEY", "NP_AUDIT_KEYS", "STRIPE_API_KEY", "NEXTPANEL_JWT_SECRET", "worker"},
    "validator": {"NP_KEK", "NP_INDEX_KEY"},
    "stripe": {"STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRETS"},
    "nextpanel": {"NEXTPANEL_JWT_SECRET"},
    "mail": set(),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_gets_the_secrets_that_it_needs_and_no_other(tmp_path: Path, name: str) -> None:
    """Looked for by value, whatever variable it stands in."""
    env = launch(describe(tmp_path), name).env
    assert {secret for secret, value in SECRETS.items() if any(value in given for given in env.values())} == NEEDS[name]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_persons_own_secrets_are_handed_to_nobody(tmp_path: Path, name: str) -> None:
    own = dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PGPASSWORD", "SSH_AUTH_SOCK", "SENTRY_DSN"), "mine")
    env = launch(describe(tmp_path, LANG="C.UTF-8", **own), name).env
    assert "mine" not in env.values()
    assert (env["PATH"], env["LANG"]) == ("/bin", "C.UTF-8")


def test_no_secret_stands_on_a_command_line(tmp_path: Path) -> None:
    """Everybody on the machine can read those."""
    stack = describe(tmp_path)
    lines = " ".join(" ".join(launch(stack, name).argv) for name in (*PROCESSES, "postgres", "valkey"))
    assert [name for name, secret in SECRETS.items() if secret in lines] == []


def test_services_come_after_what_they_need_and_the_validator_needs_no_database(tmp_path: Path) -> None:
    heights = levels(describe(tmp_path).nodes)
    order = ("postgres", "database", "migrate", "seed", "demo-users", "billing_api")
    assert [heights[name] for name in order] == sorted({heights[name] for name in order})
    assert heights["validator"] < heights["migrate"]


@pytest.mark.parametrize(
    ("own", "gone"),
    [
        (OWN_DATABASE, {"postgres", "database"}),
        ({"REDIS_URL": "redis://cache/0"}, {"valkey"}),
        ({"STRIPE_API_KEY": "sk_live_1", "STRIPE_WEBHOOK_SECRETS": "whsec_1"}, {"stripe"}),
        ({"NEXTPANEL_URL": "https://panel", "NEXTPANEL_JWT_SECRET": "s"}, {"nextpanel"}),
        ({"MAIL_URL": "https://mail"}, {"mail"}),
    ],
)
def test_the_persons_own_server_replaces_its_stand_in(tmp_path: Path, own: dict[str, str], gone: set[str]) -> None:
    everything, stack = describe(tmp_path), describe(tmp_path, **own)
    assert names(everything) - names(stack) == gone
    env: dict[str, str] = {}
    for name in ("migrate", "seed", "billing_api", "workers", "validator"):
        env |= launch(stack, name).env
    assert own.items() <= env.items()
    assert "STRIPE_API_BASE" not in env or "stripe" in names(stack)
    assert levels(stack.nodes)  # nothing comes after what is not there


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (
            {"DATABASE_URL": "postgresql://x"},
            "DATABASE_URL is set, so set OWNER_DATABASE_URL and WORKER_DATABASE_URL too",
        ),
        ({"STRIPE_API_KEY": "sk"}, "STRIPE_API_KEY is set, so set STRIPE_WEBHOOK_SECRETS too"),
        ({"NEXTPANEL_URL": "http://x"}, "NEXTPANEL_URL is set, so set NEXTPANEL_JWT_SECRET too"),
        ({"NP_API_PROCESSES": "many"}, "NP_API_PROCESSES is 'many': give a whole number from 1"),
        ({"NP_VALIDATOR_PROCESSES": "0"}, "NP_VALIDATOR_PROCESSES is '0': give a whole number from 1"),
    ],
)
def test_choices_that_do_not_fit_are_refused_with_what_to_do(env: dict[str, str], says: str) -> None:
    with pytest.raises(CannotStart) as refusal:
        Choices.read(env)
    assert str(refusal.value) == says


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path) -> None:
    assert "postgres" in names(describe(tmp_path, DATABASE_URL="", NP_API_PORT=" "))


def test_the_database_takes_the_connections_of_every_process(tmp_path: Path) -> None:
    few, many = (Choices.read({"NP_API_PROCESSES": number}).max_connections for number in ("1", "9"))
    of_the_api = POOL_SIZE + READERS + SYSTEM_READERS + MOST_SESSIONS + HEALTH_CONNECTIONS
    assert many - few == 8 * of_the_api
    assert few == of_the_api + POOL + BESIDE_THE_POOL + 40
    stack = describe(tmp_path, NP_API_PROCESSES="9")
    postgres = next(node for node in stack.nodes if isinstance(node, Part) and node.name == "postgres")
    assert postgres.server.max_connections == many  # type: ignore[attr-defined]  # the protocol does not tell


def test_run_json_has_what_others_rely_on(tmp_path: Path) -> None:
    facts = describe(tmp_path, NP_HOST="0.0.0.0").facts  # who listens everywhere is reached here
    assert facts["billing_api"].startswith("http://127.0.0.1:")
    assert set(facts["simulators"]) == {"stripe", "nextpanel", "mail"}
    assert facts["portal"] is None
    assert facts["database_url"].startswith("postgresql://np_api:")
    assert facts["redis_url"].startswith("redis://127.0.0.1:")
    assert facts["platform_key"] == {"key_id": KEYRING.platform_key_id, "secret": KEYRING.platform_key_secret}


def test_the_table_shows_addresses_and_logins(tmp_path: Path) -> None:
    facts = describe(tmp_path).facts
    shown = table(facts, tmp_path / "run.json")
    for value in (facts["billing_api"], facts["validator"], facts["admin"]["password"], str(tmp_path / "run.json")):
        assert value in shown
    assert "portal" not in shown


def test_a_node_that_comes_after_a_later_one_is_a_mistake() -> None:
    nothing = Launch(argv=("true",), cwd=Path("/"))
    with pytest.raises(ValueError, match="first comes after"):
        levels([Step(name="first", work=nothing, after=("second",)), Step(name="second", work=nothing)])
