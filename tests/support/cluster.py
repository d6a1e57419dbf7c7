"""A Valkey Cluster on this machine: primaries that share all slots, and replicas where a test wants some.

It is created by commands to each node, as Valkey's own tool does it. A failure is detected after NODE_TIMEOUT, a tenth
of a production value. When one primary dies, the others go on serving.
"""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import hiredis
from typing_extensions import override

from core.hotstore.slots import BUCKET_SLOTS, SLOTS
from core.resp.connection import pack
from devstack.leash import Launch
from devstack.ports import choose
from devstack.valkey import HOST, Valkey
from devstack.waiting import wait_until
from tests.support.servers import running

NODE_TIMEOUT: Final = 1000
"""Milliseconds."""
_AGREE_WITHIN: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Node(Valkey):
    bus_port: int

    @override
    def launch(self) -> Launch:
        plain = super().launch()
        settings = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-port": str(self.bus_port),
            "cluster-node-timeout": str(NODE_TIMEOUT),
            "cluster-require-full-coverage": "no",
            "repl-diskless-sync-delay": "0",
        }
        options = tuple(word for name, value in settings.items() for word in (f"--{name}", value))
        return Launch(argv=plain.argv + options, env=plain.env, cwd=plain.cwd)

    def ask(self, *words: str | int) -> Any:
        """Sends one command and returns its whole answer; raises the node's error."""
        reader = hiredis.Reader(encoding="utf-8")
        with socket.create_connection((HOST, self.port), timeout=5) as connection:
            connection.sendall(pack(*words))
            answer: Any = False
            while answer is False:
                reader.feed(connection.recv(65536))
                answer = reader.gets()
        if isinstance(answer, hiredis.ReplyError):
            raise answer
        return answer

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID"))

    def serves(self, slot: int) -> bool:
        """As this node itself reports."""
        return any(first <= slot <= last for first, last in self._ranges())

    @property
    def buckets(self) -> list[int]:
        mine = self._ranges()
        return [bucket for bucket, slot in enumerate(BUCKET_SLOTS) if any(a <= slot <= z for a, z in mine)]

    def _ranges(self) -> list[tuple[int, int]]:
        return [(first, last) for first, last, primary, *_ in self.ask("CLUSTER", "SLOTS") if primary[1] == self.port]

    def agrees(self, primaries: int, known: int) -> bool:
        lines = self.ask("CLUSTER", "INFO").splitlines()
        facts = dict(line.partition(":")[::2] for line in lines)
        wanted = {"cluster_state": "ok", "cluster_known_nodes": str(known), "cluster_size": str(primaries)}
        return wanted.items() <= facts.items()

    def follows(self, primary: "Node") -> bool:
        info = self.ask("INFO", "replication")
        return f"master_port:{primary.port}" in info and "master_link_status:up" in info


@dataclass(frozen=True)
class Cluster:
    primaries: Sequence[Node]
    replicas: Sequence[Node]
    """The first replicates the first primary, and so on."""
    processes: dict[int, "subprocess.Popen[bytes]"]
    """By port."""

    @property
    def url(self) -> str:
        return self.primaries[0].url

    def owner(self, bucket: int) -> Node:
        return next(node for node in self.primaries if bucket in node.buckets)

    def kill(self, node: Node) -> None:
        process = self.processes[node.port]
        process.kill()
        process.wait()


@contextmanager
def cluster(folder: Path, *, primaries: int = 3, replicas: int = 0) -> Iterator[Cluster]:
    with ExitStack() as stack:
        nodes, processes = [], {}
        for number in range(primaries + replicas):
            node = Node(data=folder / f"node-{number}", port=choose(HOST), bus_port=choose(HOST), fast=True)
            processes[node.port] = stack.enter_context(running(node, folder / f"node-{number}.log"))
            nodes.append(node)
        made = Cluster(nodes[:primaries], nodes[primaries:], processes)
        _join(made)
        yield made


def _join(made: Cluster) -> None:
    nodes = [*made.primaries, *made.replicas]
    share = SLOTS // len(made.primaries) + 1
    for number, node in enumerate(nodes):
        node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    for number, node in enumerate(made.primaries):
        node.ask("CLUSTER", "ADDSLOTSRANGE", number * share, min((number + 1) * share, SLOTS) - 1)
    for node in nodes[1:]:
        node.ask("CLUSTER", "MEET", HOST, nodes[0].port, nodes[0].bus_port)
    _until(made, nodes)
    for replica, primary in zip(made.replicas, made.primaries, strict=False):
        replica.ask("CLUSTER", "REPLICATE", primary.id)
    _until(made, nodes)
    pairs = list(zip(made.replicas, made.primaries, strict=False))
    assert wait_until(lambda: all(replica.follows(primary) for replica, primary in pairs), _AGREE_WITHIN)


def _until(made: Cluster, nodes: Sequence[Node]) -> None:
    size = len(made.primaries)
    assert wait_until(lambda: all(node.agrees(size, len(nodes)) for node in nodes), _AGREE_WITHIN)
