"""Options of `make up`, read from the environment.

Each outside service has a stand-in, unless its address is given. A service that needs more than its address says so
here, before anything is started.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from devstack.faults import CannotStart

CONNECTIONS_PER_PROCESS: Final = 35  # of the API, as db.engine, db.driver, db.reads and db.condition say
CONNECTIONS_OF_WORKERS: Final = 53  # as workers.jobs.connection_budget declares
_MARGIN: Final = 40  # the steps before the services, a person's psql, and what the server keeps for its superuser

# What replaces each stand-in, and what has to come with it.
_REPLACEMENTS: Final = {
    "DATABASE_URL": ("OWNER_DATABASE_URL", "WORKER_DATABASE_URL"),
    "REDIS_URL": (),
    "STRIPE_API_KEY": ("STRIPE_WEBHOOK_SECRETS",),
    "NEXTPANEL_URL": ("NEXTPANEL_JWT_SECRET",),
    "MAIL_URL": (),
}


@dataclass(frozen=True)
class Choices:
    data: Path
    host: str
    api_processes: int
    validator_processes: int
    replaced: frozenset[str]
    """The variables of _REPLACEMENTS that are set: their stand-ins are not started."""
    env: Mapping[str, str]
    """The whole environment, without empty values."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        env = {name: value for name, value in environment.items() if value.strip()}
        replaced = frozenset(name for name in _REPLACEMENTS if name in env)
        for name in sorted(replaced):
            missing = [other for other in _REPLACEMENTS[name] if other not in env]
            if missing:
                raise CannotStart(f"{name} is set, so set {' and '.join(missing)} too")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(
            data=Path(env.get("NP_DATA", ".data")).resolve(),
            host=env.get("NP_HOST", "127.0.0.1"),
            api_processes=_count(env, "NP_API_PROCESSES", cores),
            validator_processes=_count(env, "NP_VALIDATOR_PROCESSES", cores),
            replaced=replaced,
            env=env,
        )

    @property
    def max_connections(self) -> int:
        """The validator knows no database; the workers are one process."""
        return CONNECTIONS_PER_PROCESS * self.api_processes + CONNECTIONS_OF_WORKERS + _MARGIN


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    raw = env.get(name, str(default)).strip()
    if not raw.isdigit() or int(raw) < 1:
        raise CannotStart(f"{name} is {raw!r}: give a whole number from 1")
    return int(raw)
