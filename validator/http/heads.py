"""Heads of requests: who judges one, and which have been judged before (RFC 9110, RFC 9112).

The judgement is llhttp's (through httptools, in strict mode), which is handed a head once it is whole.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import httptools

from core.headers import ONLY_ONCE
from validator.http.faults import BadStream

_MOST_SHARED: Final = 1024
_MOST_FREE_PARSERS: Final = 64


class KnownHead(NamedTuple):
    """A head that was read: its bytes around the signature's value, where the parts end, and what it said."""

    before: bytes
    behind: bytes
    value_ends: int
    head_ends: int
    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]


class HeadParser:
    """llhttp, and where it puts the headers of the head it is reading.

    Making one costs half of what judging a head does, and each takes more memory than all the rest of an idle
    connection's parser: hence they are lent. Only one that is sure to expect a next request is lent again: whoever
    breaks off in the midst of one lets his go, and so does whoever speaks of the connection's end, for after that
    llhttp takes nothing more.
    """

    __slots__ = ("_llhttp", "headers", "repeated")

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.repeated: bytes | None = None
        self._llhttp = httptools.HttpRequestParser(self)

    def read(self, head: bytes) -> tuple[dict[bytes, bytes], bool]:
        """The headers; and whether another protocol is offered, which we do not take up."""
        upgrade = False
        try:
            self._llhttp.feed_data(head)
        except httptools.HttpParserUpgrade:
            upgrade = True
        except httptools.HttpParserError as fault:
            raise BadStream(400, str(fault)) from fault
        if self.repeated is not None:
            raise BadStream(400, f"the header {self.repeated.decode()} stands twice")
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
    """What the connections of one process share: heads that were read, each kept once, and judges that are free.

    Ten thousand clients send few different heads, and few of them are in the midst of a request at one time.
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
        """It stands at the beginning of a request again."""
        if len(self._free_parsers) < _MOST_FREE_PARSERS:
            self._free_parsers.append(parser)
