"""Decoder of a body with `Transfer-Encoding: chunked` (RFC 9112, 7.1), incremental.

Chunk extensions and trailer fields are skipped: none is known here. Both have a limit (limits.py); otherwise a client
could send them forever without a byte of body.
"""

import re
from typing import Final

from core.counted import counted
from validator.http.faults import BadStream
from validator.http.limits import CHUNK_LINE_LIMIT, TRAILERS_LIMIT

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_TRAILER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*")


class ChunkedBody:
    """`take` reads on and returns where it stopped; `body` is complete once `done`."""

    __slots__ = ("_limit", "_missing", "_parts", "_size", "_trailers", "done")

    def __init__(self, limit: int) -> None:
        self.done = False
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._missing = 0  # bytes of the current chunk that are missing, its line end included
        self._trailers = -1  # bytes of trailers so far; below 0 while chunks come

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    def take(self, buffer: bytes, at: int) -> int:
        while not self.done:
            after = self._take_data(buffer, at) if self._missing else self._take_line(buffer, at)
            if after == at:
                break
            at = after
        return at

    def _take_data(self, buffer: bytes, at: int) -> int:
        """Takes a part of a chunk, so that a large one is not copied twice; the line end with the last byte."""
        have = len(buffer) - at
        if have < self._missing:
            some = min(have, self._missing - 2)
            if some <= 0:
                return at
            self._parts.append(buffer[at : at + some])
            self._missing -= some
            return at + some
        end = at + self._missing
        if buffer[end - 2 : end] != b"\r\n":
            raise BadStream(400, "a chunk is longer than its size line says: send the right size")
        self._parts.append(buffer[at : end - 2])
        self._missing = 0
        return end

    def _take_line(self, buffer: bytes, at: int) -> int:
        end = buffer.find(b"\r\n", at)
        if (end if end >= 0 else len(buffer) - 1) - at > CHUNK_LINE_LIMIT:
            raise BadStream(400, f"a line of the chunked body is longer than {CHUNK_LINE_LIMIT} bytes")
        if end < 0:
            return at
        line = buffer[at:end]
        if self._trailers < 0:
            self._begin_chunk(line)
        else:
            self._pass_trailer(line)
        return end + 2

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BadStream(400, "begin each chunk with its size in hexadecimal digits")
        size = int(match[1], 16)
        self._size += size
        if self._size > self._limit:
            raise BadStream(413, f"the body is longer than {counted(self._limit, 'byte')}")
        if size:
            self._missing = size + 2
        else:
            self._trailers = 0

    def _pass_trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if not line:
            self.done = True
        elif self._trailers > TRAILERS_LIMIT or not _TRAILER.fullmatch(line):
            raise BadStream(400, "the trailer fields are malformed or too long: send none")
