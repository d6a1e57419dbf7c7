"""Handshake of a connection to Redis: authenticate, read what the server is, ask to be told of changes.

CLIENT TRACKING in BCAST mode makes the server push an invalidation for every changed key under our prefixes, on the
same connection that carries commands.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult

from core.hotstore.server_facts import SECTIONS, ServerFacts, facts_of, parse
from core.resp.connection import RedisConnection, pack
from core.resp.dialing import HandshakeRefused, accepted, greeting

_NAME: Final = "np-validator"
READ_FACTS: Final = pack("INFO", *SECTIONS)


async def introduce(
    connection: RedisConnection, url: SplitResult, prefixes: Sequence[str], *, in_cluster: bool
) -> ServerFacts:
    """Returns what the server says of itself, once it has promised to push changes under the prefixes.

    `in_cluster`: it is meant to be a node of a Cluster. A node that is met unexpectedly is not asked for pushes.
    """
    for command in greeting(url, _NAME):
        accepted(await connection.probe(command))
    facts = facts_in(accepted(await connection.probe(READ_FACTS)))
    if not facts.reign:
        raise HandshakeRefused("it does not tell its run id")
    if in_cluster and not facts.clustered:
        raise HandshakeRefused("it is no longer a node of a Cluster")
    if facts.clustered == in_cluster:
        tracking: list[str] = ["CLIENT", "TRACKING", "ON", "BCAST"]
        for prefix in prefixes:
            tracking += ("PREFIX", prefix)
        accepted(await connection.probe(pack(*tracking)))
    return facts


def facts_in(info: bytes | str) -> ServerFacts:
    """From the answer to READ_FACTS. RESP3 tells INFO as a verbatim string, which hiredis may give as text."""
    return facts_of(parse(info if isinstance(info, bytes) else info.encode()))
