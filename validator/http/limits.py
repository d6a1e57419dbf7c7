"""Limits of HTTP: what one client may send, and for how long it may keep a connection waiting.

Each bounds what a client can cost; what is over a limit is answered with the status beside it, or ends the connection.
"""

from typing import Final

HEAD_LIMIT: Final = 8 * 1024
"""Bytes of the request line and all headers: 431."""
BODY_LIMIT: Final = 64 * 1024
"""Bytes of a body, chunked or not: 413."""
EMPTY_LINES_LIMIT: Final = 8
"""Empty lines before a request: 400."""
CHUNK_LINE_LIMIT: Final = 256
"""Bytes of a line that says how long a chunk is, extensions included: 400."""
TRAILERS_LIMIT: Final = 2048
"""Bytes of all trailer fields behind the last chunk: 400."""

REQUEST_SECONDS: Final = 10
"""For one request to arrive: 408. For the first one, from the start of the connection."""
UNREAD_SECONDS: Final = 10
"""For the client to read its answers."""
IDLE_SECONDS: Final = 75
"""Between two requests."""
LINGER_SECONDS: Final = 2
"""For which a connection that we end is read on."""

MOST_OWED: Final = 128
"""Answers that one connection waits for; then nothing more is read from it."""
MOST_CONNECTIONS: Final = 20_000
"""Of one process: 503."""
