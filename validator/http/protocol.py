"""HTTP/1.1 parser without I/O, for one connection: bytes in, events out (RFC 9110, RFC 9112).

The framing is done here; heads are parsed by llhttp (through httptools, in strict mode). A head is everything before
the first empty line, and llhttp gets it once it is complete. The head tells how long the body is. So nothing depends on
how the network has divided the bytes, and tests check that: any division of a stream gives the same events, refusals
included.

A client's requests are alike: only their signatures and their bodies differ, and the bodies often have one length. So a
connection remembers, for each length of a whole request, the bytes before and behind the signature's value in the last
such head. Equal bytes around another value of plain letters mean the same again, and need not be parsed again.

Events come in the order of the stream:

    Request        a complete request; its answer is owed
    Continue       the client waits for "100 Continue" before it sends the body of the next request
    ProtocolFault  the stream cannot be understood from here on: answer with this status and close

After a ProtocolFault, and after a request that asks to close the connection, the parser is deaf: it reads no more.

Stricter than other servers, against request smuggling: a second Host or NP-Signature, lone line feeds, folded headers,
both Content-Length and Transfer-Encoding, and transfer codings other than chunked are refused. Each of these lets two
readers of one stream see different requests.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from validator.http.chunked import ChunkedBody
from validator.http.faults import BadStream
from validator.http.heads import (
    HeadParser,
    Heads,
    KnownHead,
)
from validator.http.limits import BODY_LIMIT, EMPTY_LINES_LIMIT, HEAD_LIMIT

_CAPITALS: Final = range(ord("A"), ord("Z") + 1)
_SIGNATURE: Final = b"np-signature"
_PLAIN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789=,_-"
_SPECIAL: Final = frozenset({b"transfer-encoding", b"expect"})
_MOST_KNOWN_HEADS: Final = 16
_SCHEMES: Final = frozenset({b"http", b"https"})
_AUTHORITY: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=\-]+)(?::[0-9]{0,5})?")
"""A host and a port, without user information before them (RFC 9110, 4.2.4)."""


class Request(msgspec.Struct, gc=False):
    """`target` is the path with its query as the request line has them; header names are in lower case.

    Do not change `headers`: requests of one connection share them. The signature, which they never share, has a field
    of its own. `peer` is the address of the connection's other end, which the parser cannot know.
    """

    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]
    signature: bytes | None
    body: bytes
    keep_alive: bool = True
    http_1_0: bool = False
    peer: str = ""


class Continue(msgspec.Struct, frozen=True):
    pass


class ProtocolFault(msgspec.Struct, frozen=True):
    status: int
    detail: str


Event = Request | Continue | ProtocolFault


class RequestParser:
    __slots__ = (
        "_at",
        "_buffer",
        "_chunks",
        "_empty_lines",
        "_head",
        "_head_parser",
        "_heads",
        "_known_heads",
        "_missing",
        "deaf",
    )

    def __init__(self, heads: Heads | None = None) -> None:
        """`heads`: what all parsers of a process share."""
        self.deaf = False
        self._heads = heads or Heads()
        self._buffer = b""
        self._at = 0
        self._empty_lines = 0
        self._head: Request | None = None  # complete but for its body
        self._missing = 0  # the body's length, where the head told it
        self._chunks: ChunkedBody | None = None
        self._known_heads: dict[int, KnownHead] = {}
        self._head_parser: HeadParser | None = None  # of the head whose body is still missing

    @property
    def in_midst(self) -> bool:
        """Whether a request has begun and not ended."""
        return self._head is not None or bool(self._buffer)

    def feed(self, data: bytes) -> Sequence[Event]:
        """The events that `data` completes."""
        request = self.recognize(data)
        if request is not None:
            return (request,)
        events: list[Event] = []
        buffer = self._buffer = self._buffer + data if self._buffer else data
        self._at = 0
        try:
            while not self.deaf and (self._take_head(events) if self._head is None else self._take_body(events)):
                pass
        except BadStream as fault:
            events.append(ProtocolFault(fault.status, fault.detail))
            self.deaf = True
        self._buffer = b"" if self.deaf else buffer[self._at :]
        if len(events) == 1 and self._at == len(buffer) and type(events[0]) is Request:
            self._remember(buffer, events[0])
        return events

    def recognize(self, data: bytes) -> Request | None:
        """The request, if `data` is exactly one whose head is known.

        `feed` would return the same. Such a request needs no special answer: HEAD and HTTP/1.0 are not remembered.
        """
        pattern = self._known_heads.get(len(data))
        if pattern is None or self._buffer or self._head is not None or self.deaf:
            return None
        before, behind, value_ends, head_ends, method, target, headers = pattern
        if not data.startswith(before) or not data.startswith(behind, value_ends):
            return None
        signature = data[len(before) : value_ends]
        if signature.translate(None, _PLAIN):
            return None
        return Request(method, target, headers, signature, data[head_ends:])

    def _remember(self, data: bytes, request: Request) -> None:
        """Remembers the head of `data`, which was exactly this request."""
        if request.signature is None or not request.keep_alive or not _SPECIAL.isdisjoint(request.headers):
            return
        if request.http_1_0 or request.method == b"HEAD":
            return
        head_ends = len(data) - len(request.body)
        value_at = data.find(b": " + request.signature + b"\r\n") + 2
        value_ends = value_at + len(request.signature)
        before, behind = data[:value_at], data[value_ends:head_ends]
        if not before.lower().endswith(b"\r\n" + _SIGNATURE + b": ") or not behind.endswith(b"\r\n\r\n"):
            return
        if len(self._known_heads) >= _MOST_KNOWN_HEADS:
            self._known_heads.clear()
        head = KnownHead(before, behind, value_ends, head_ends, request.method, request.target, request.headers)
        self._known_heads[len(data)] = self._heads.share(head)

    def _take_head(self, events: list[Event]) -> bool:
        """Whether the head was complete, so that its body comes next."""
        buffer, at = self._buffer, self._at
        if at == len(buffer):
            return False
        if buffer[at] not in _CAPITALS:
            return self._pass_empty_line()
        end = buffer.find(b"\r\n\r\n", at)
        if (end if end >= 0 else len(buffer) - 3) - at > HEAD_LIMIT:
            raise BadStream(431, f"the request's head is longer than {HEAD_LIMIT} bytes")
        if end < 0:
            return False
        self._at = end + 4
        self._empty_lines = 0
        self._head = head = self._read_head(buffer[at : self._at])
        self._frame(head)
        if b"expect" in head.headers:
            self._expect(head, events)
        return True

    def _pass_empty_line(self) -> bool:
        """Empty lines before a request are ignored (RFC 9112, 2.2)."""
        start = self._buffer[self._at : self._at + 2]
        if start == b"\r\n" and self._empty_lines < EMPTY_LINES_LIMIT:
            self._at += 2
            self._empty_lines += 1
            return True
        if start == b"\r":
            return False
        raise BadStream(400, "begin each request with its method")

    def _read_head(self, head: bytes) -> Request:
        parser = self._heads.parser()
        headers, upgrade = parser.read(head)
        line = head[: head.find(b"\r\n")].split(b" ")
        if len(line) != 3:
            raise BadStream(400, "write the request line as method, target and version, with one space between them")
        method, target, version = line
        if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
            raise BadStream(505, "use HTTP/1.1 or HTTP/1.0")
        if not target.startswith(b"/"):
            target = _origin_form(target)
        old = version == b"HTTP/1.0"
        if not (old or upgrade or b"connection" in headers):
            self._head_parser = parser
        signature = headers.pop(_SIGNATURE, None)
        return Request(method, target, headers, signature, b"", _keeps_alive(headers, old=old), old)

    def _frame(self, head: Request) -> None:
        """Finds where the body ends. llhttp has refused a length that is no number, and a length beside chunks."""
        headers = head.headers
        if b"host" not in headers and not head.http_1_0:
            raise BadStream(400, "send a Host header")
        if b"transfer-encoding" in headers:
            if head.http_1_0 or headers[b"transfer-encoding"].lower() != b"chunked":
                raise BadStream(501, "use no transfer coding but `chunked`, and that in HTTP/1.1")
            self._chunks = ChunkedBody(BODY_LIMIT)
            self._head_parser = None
            return
        self._missing = int(headers.get(b"content-length", 0))
        if self._missing > BODY_LIMIT:
            raise BadStream(413, f"the body is longer than {BODY_LIMIT} bytes")

    def _expect(self, head: Request, events: list[Event]) -> None:
        if head.headers[b"expect"].lower() != b"100-continue":
            raise BadStream(417, "use no expectation but `100-continue`")
        if not head.http_1_0 and (self._missing or self._chunks):
            events.append(Continue())

    def _take_body(self, events: list[Event]) -> bool:
        """Whether the body was complete, so that the request is an event."""
        head = self._head
        assert head is not None
        # Take the body: chunked, or of the length that the head told, or none.
        if self._chunks is not None:
            self._at = self._chunks.take(self._buffer, self._at)
            if not self._chunks.done:
                return False
            head.body = self._chunks.body
            self._chunks = None
        elif self._missing:
            end = self._at + self._missing
            if end > len(self._buffer):
                return False
            head.body = self._buffer[self._at : end]
            self._at = end
            self._missing = 0
        # The parser has to see the body, too, before it can parse another head.
        if self._head_parser is not None:
            self._head_parser.pass_over(head.body)
            self._heads.give_back(self._head_parser)
            self._head_parser = None
        self._head = None
        self.deaf = not head.keep_alive
        events.append(head)
        return True


def _origin_form(target: bytes) -> bytes:
    """The path and the query of a target in absolute form (RFC 9112, 3.2.2); signatures cover only these.

    Some proxies send it, and a server must accept it. Any other form (`*`, an authority) is not changed.
    """
    scheme, _, rest = target.partition(b"://")
    if scheme.lower() not in _SCHEMES:
        return target
    end = next((at for at, byte in enumerate(rest) if byte in b"/?#"), len(rest))
    if not _AUTHORITY.fullmatch(rest[:end]):
        raise BadStream(400, "the request's target is no URL: send a path, or a URL with a host")
    return rest[end:] if rest[end : end + 1] == b"/" else b"/" + rest[end:]


def _keeps_alive(headers: Mapping[bytes, bytes], *, old: bool) -> bool:
    """HTTP/1.1 keeps a connection unless told otherwise, HTTP/1.0 the other way round."""
    if b"connection" not in headers:
        return not old
    words = {word.strip() for word in headers[b"connection"].lower().split(b",")}
    return b"keep-alive" in words and b"close" not in words if old else b"close" not in words
