"""Heads of requests: their parser, and a cache of heads that were parsed before (RFC 9110, RFC 9112).

The parser is llhttp (through httptools, in strict mode), which gets a head once it is complete.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import httptools

from core.headers import ONLY_ONCE
from validator.http.faults import BadStream

_MOST_SHARED: Final = 1024
_MOST_FREE_PARSERS: Final = 64


class KnownHead(NamedTuple):
    """A head that was parsed: its bytes around the signature's value, where they end, and what they mean."""

    before: bytes
    behind: bytes
    value_ends: int
    head_ends: int
    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]


class HeadParser:
    """llhttp, and the headers of the head that it is parsing.

    They are pooled: making one costs half as much as parsing a head, and each takes more memory than the rest of an
    idle connection's parser. Only one that is at the beginning of a request goes back to the pool. It is dropped where
    a request breaks off, or announces the end of the connection: after that llhttp takes nothing more.
    """

    __slots__ = ("_llhttp", "headers", "repeated")

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.repeated: bytes | None = None
        self._llhttp = httptools.HttpRequestParser(self)

    def read(self, head: bytes) -> tuple[dict[bytes, bytes], bool]:
        """The headers, and whether the client offers another protocol, which is ignored."""
        upgrade = False
        try:
            self._llhttp.feed_data(head)
        except httptools.HttpParserUpgrade:
            upgrade = True
        except httptools.HttpParserError as fault:
            raise BadStream(400, str(fault)) from fault
        if self.repeated is not None:
            raise BadStream(400, f"send the header {self.repeated.decode()} only once")
        headers, self.headers = self.headers, {}
        return headers, upgrade

    def pass_over(self, body: bytes) -> None:
        if body:
            self._llhttp.feed_data(body)

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self.headers:
            if name in ONLY_ONCE:
                self.repeated = name
            value = self.headers[name] + b", " + value
        self.headers[name] = value


class Heads:
    """What the connections of one process share: each known head once, and a pool of parsers.

    Ten thousand clients send few different heads, and few of them are within a request at one time.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, int], KnownHead] = {}
        self._free_parsers: list[HeadParser] = []

    def share(self, head: KnownHead) -> KnownHead:
        if len(self._known) >= _MOST_SHARED:
            self._known.clear()
        return self._known.setdefault((head.before, head.behind, head.value_ends), head)

    def parser(self) -> HeadParser:
        return self._free_parsers.pop() if self._free_parsers else HeadParser()

    def give_back(self, parser: HeadParser) -> None:
        """It is at the beginning of a request again."""
        if len(self._free_parsers) < _MOST_FREE_PARSERS:
            self._free_parsers.append(parser)
