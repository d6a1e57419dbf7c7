"""Health probe of a Redis server, for /health/dependencies of the API and the workers.

What makes a server unfit is decided by core/hotstore/server_facts.py.
"""

from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ReadOnlyError, ResponseError

from core.health import Dependency
from core.hotstore import keys
from core.hotstore.client import HotStoreClient
from core.hotstore.server_facts import facts_of

_KEPT_MS: Final = 1000


async def look_at_hot_store(redis: Redis, client: HotStoreClient) -> Dependency:
    """As `look`, and whether the store holds all that validators need: a server that was emptied answers, too."""
    state = await look(redis)
    if state is not Dependency.OK:
        return state
    store = await client.state()
    if store.unfit is not None:  # in a Cluster `look` has asked one node only
        return Dependency.UNFIT
    return Dependency.LOADING if store.empty or store.unconfirmed else Dependency.OK


async def look(redis: Redis) -> Dependency:
    """What the server says, and whether it takes a write: one with too few replicas or rights does not say so.

    Raises where there is no answer (core.health.Lookout counts that as silent).
    """
    try:
        facts: Mapping[str, Any] = await redis.info()
        if facts.get("cluster_enabled"):
            return await _of_cluster(redis)
        state = of(facts)
        if state is Dependency.OK:
            await redis.set(keys.LOOKED_AT, b"", px=_KEPT_MS)
    except BusyLoadingError:
        return Dependency.LOADING
    except ReadOnlyError:
        return Dependency.READ_ONLY
    except ResponseError as refusal:
        return Dependency.LOADING if str(refusal).startswith(("LOADING", "MASTERDOWN")) else Dependency.UNFIT
    return state


def of(facts: Mapping[str, Any]) -> Dependency:
    """`facts`: what INFO says of a single server."""
    if facts.get("loading"):
        return Dependency.LOADING
    told = facts_of(facts)
    if not told.primary:
        return Dependency.READ_ONLY
    return Dependency.OK if told.unfit is None else Dependency.UNFIT


async def _of_cluster(redis: Redis) -> Dependency:
    """Any node tells whether all slots are served."""
    state = await redis.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]  # left untyped
    ok = state.get("cluster_state") == "ok" if isinstance(state, dict) else b"cluster_state:ok" in bytes(state)
    return Dependency.OK if ok else Dependency.SILENT
