"""HTTP/1.1 parser for answers, from the bytes that came so far; made for speed, and for our own servers.

One request is under way on a connection at a time, so the bytes belong to one answer. Its head must give the body's
length: our servers send no chunked answers, and a proxy in between that did would be a finding.
"""

from typing import Final, NamedTuple

_LENGTH: Final = b"\r\ncontent-length:"
_LONGEST_HEAD: Final = 16 * 1024


class BadAnswer(Exception):
    """The bytes are no HTTP answer that this parser reads."""


class Answer(NamedTuple):
    status: int
    body: bytes
    closing: bool
    """Whether the server ends the connection after it."""
    put_off: bool = False
    """Whether it is a 503 that says when to come again: the server cannot tell now, and says so."""


def read(data: bytes) -> Answer | None:
    """The answer; None where its end has not come yet."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > _LONGEST_HEAD or not data.startswith(b"HTTP/1."[: len(data)]):
            raise BadAnswer("not the head of an HTTP answer")
        return None
    head = data[:end].lower()
    at = head.find(_LENGTH)
    try:
        status = int(head[9:12])
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
    except ValueError:
        raise BadAnswer("a head without a status or a Content-Length") from None
    if at < 0 or not head.startswith(b"http/1."):
        raise BadAnswer("a head without a status or a Content-Length")
    missing = end + 4 + length - len(data)
    if missing > 0:
        return None
    if missing < 0:
        raise BadAnswer("more came than was asked for")
    put_off = status == 503 and b"\r\nretry-after:" in head
    return Answer(status, data[end + 4 :], b"\r\nconnection: close" in head, put_off)


def verdict_code(body: bytes) -> str:
    """The `code` of a verdict or a problem, found without decoding the rest of it."""
    at = body.find(b'"code":"')
    return body[at + 8 : body.index(b'"', at + 8)].decode() if at >= 0 else "no code"


def outcome_of(body: bytes) -> str:
    """The verdict's code, or whether a report was recorded."""
    if b'"success":false' in body:
        return "not recorded"
    code = verdict_code(body)
    return f"{code} (stale)" if b'"stale":true' in body else code
