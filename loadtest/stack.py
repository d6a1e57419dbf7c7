"""Stack under load: described by the files of `make up` in NP_DATA, or by the environment instead."""

from pathlib import Path
from typing import Final, TypeVar

import msgspec

from core.settings import process_environment

T = TypeVar("T")
_RUN: Final = "run.json"
_SECRETS: Final = "secrets.json"


class NoStack(Exception):
    """There is no stack to put load on; the text says what to do."""


class Login(msgspec.Struct, frozen=True):
    email: str
    password: str


class PlatformKey(msgspec.Struct, frozen=True):
    key_id: str
    secret: str


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`, as far as load needs it."""

    billing_api: str
    validator: str
    database_url: str
    worker_database_url: str
    owner_database_url: str
    redis_url: str
    admin: Login
    customer: Login
    platform_key: PlatformKey
    simulators: dict[str, str] = {}
    pids: dict[str, list[int]] = {}


class _Secrets(msgspec.Struct, frozen=True):
    """`secrets.json`, as far as seeding needs it."""

    kek: str
    index_key: str


def data_folder() -> Path:
    return Path(process_environment().get("NP_DATA") or ".data")


def read_stack(data: Path) -> Stack:
    """The stack that runs from `data`."""
    return _read(data / _RUN, Stack)


def seed_environment(data: Path) -> dict[str, str]:
    """What core.settings wants to know for seeding: this process's environment, above the files of a running stack.

    Without such a stack only an environment that says of itself that it is no production gets made-up licenses.
    """
    given = {name: value for name, value in process_environment().items() if value.strip()}
    if given.get("NP_ENVIRONMENT") == "devstack" and not (data / _RUN).exists():
        return given
    stack, secrets = read_stack(data), _read(data / _SECRETS, _Secrets)
    return {
        "OWNER_DATABASE_URL": stack.owner_database_url,
        "DATABASE_URL": stack.database_url,
        "WORKER_DATABASE_URL": stack.worker_database_url,
        "REDIS_URL": stack.redis_url,
        "NP_KEK": secrets.kek,
        "NP_INDEX_KEY": secrets.index_key,
    } | given


def _read(file: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except FileNotFoundError:
        raise NoStack(f"{file} is not there: start a stack with `make up`, or name its folder in NP_DATA") from None
    except msgspec.ValidationError as fault:
        raise NoStack(f"{file} is not what this release writes ({fault}): start the stack again") from None
