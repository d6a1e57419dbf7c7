"""Facts about a Redis server, from its INFO: its role, its reign, and whether it is fit to be relied on. Pure.

A *reign* names the time for which one server has been primary. It is made of the process (the run id) and of the data
set that it replaced when it was promoted (`master_replid2`). So a server that was demoted and promoted again has a new
reign, though it was not restarted: another server may have taken writes meanwhile. The mark of a bucket names the reign
in which it was confirmed.

A server is *fit* if it deletes nothing by itself and takes writes: `maxmemory-policy noeviction`, memory below
`maxmemory`, and, where it has an append-only file, one that can be written (otherwise writes are refused with
MISCONF). Under any other policy an absent key may have been evicted, so its absence means nothing. A server that does
not tell its policy is used.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from core.counted import counted
from core.hotstore import keys

SECTIONS: Final = ("server", "cluster", "replication", "memory", "persistence")
"""The sections of INFO that are read here."""

_NOEVICTION: Final = "noeviction"


class ServerFacts(NamedTuple):
    reign: str
    """Marks that were confirmed in it begin with this; empty where the server does not tell its run id."""
    primary: bool
    """It takes writes; a replica, and a primary that was demoted, do not."""
    clustered: bool
    tells: bool
    """Whether it told its policy; otherwise nobody knows whether it is fit."""
    evicts: bool
    """It may evict keys at any time."""
    unfit: str | None
    """Why it must not be relied on, and what to do; None if it is fit."""


def facts_of(info: Mapping[str, Any]) -> ServerFacts:
    """`info`: the fields of the SECTIONS by name, as text or as redis-py has parsed them."""
    return ServerFacts(
        reign=reign_of(str(info.get("run_id", "")), str(info.get("master_replid2", ""))),
        primary=str(info.get("role", "master")) == "master",
        clustered=str(info.get("cluster_enabled", "0")) == "1",
        tells="maxmemory_policy" in info,
        evicts=_policy(info) != _NOEVICTION,
        unfit=_unfitness(info),
    )


def reign_of(run_id: str, replaced: str) -> str:
    """`replaced`: the replication id before the last promotion, all zeros where there was none (functions.lua, too)."""
    if not replaced.strip("0"):
        return run_id[: keys.RUN_ID_LENGTH]
    return hashlib.sha1(f"{run_id}:{replaced}".encode(), usedforsecurity=False).hexdigest()[: keys.RUN_ID_LENGTH]


def parse(info: bytes) -> dict[str, str]:
    """The text of INFO."""
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def _policy(info: Mapping[str, Any]) -> str:
    return str(info.get("maxmemory_policy", _NOEVICTION))


def _unfitness(info: Mapping[str, Any]) -> str | None:
    """Why it is unfit: the same text for the same reason, so that a log tells it once."""
    policy = _policy(info)
    if policy != _NOEVICTION:
        return f"maxmemory-policy is {policy}, so keys may be evicted: set it to {_NOEVICTION}"
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    held = used - int(info.get("mem_not_counted_for_evict", 0))
    if most and held >= most:
        return f"memory is full (maxmemory is {counted(most, 'byte')}), so writes are refused: raise maxmemory"
    if str(info.get("aof_enabled", "0")) == "1" and info.get("aof_last_write_status", "ok") != "ok":
        return "its append-only file cannot be written, so writes are refused: check whether its disk is full"
    return None
