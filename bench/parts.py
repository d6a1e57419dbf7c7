"""Microbenchmark (`python -m bench.parts`): the cost of each part of a validation from memory, and of a plain one.

No socket and no loop: only our own code, timed with a fixed number of calls. The best of several repeats counts, for
other processes disturbed it least. The rest of the figure of `python -m bench` is the kernel's and the loop's.
"""

import hmac
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from timeit import repeat
from typing import Final, NamedTuple

import msgspec

from bench import material
from core.clock import unix_time
from core.crypto.signature import Signature, SignatureReader, Verifier, body_digest, check_time, parse
from core.licensing.verdict import Code, Verdict
from core.rate_limit import RateLimit
from validator.calls.wire import Ask, read
from validator.http.answers import Letterhead, verdict_text
from validator.http.protocol import Request, RequestParser
from validator.http.rate_limit_headers import rate_limit_lines

_CALLS: Final = 20_000
_REPEATS: Final = 7
_KEY: Final = "NP-AAAA-BBBB-CCCC"


def micros(what: Callable[[], object]) -> float:
    return min(repeat(what, number=_CALLS, repeat=_REPEATS)) / _CALLS * 1e6


class Part(NamedTuple):
    name: str
    kept: Callable[[], object]
    """As the validator does it."""
    plainly: Callable[[], object]


def parts() -> Iterator[Part]:
    (data,) = material.signed_requests([_KEY])
    parser = RequestParser()
    (request,) = parser.feed(data)
    assert isinstance(request, Request)
    assert request.signature is not None
    signature = parse(request.signature)
    assert isinstance(signature, Signature)
    yield _framing(data, parser)
    yield _reading(request.signature)
    yield _proving(request, signature)
    yield _asking(request)
    yield _limiting()
    yield _answering()


def _framing(data: bytes, parser: RequestParser) -> Part:
    plain = RequestParser()

    def judged_anew() -> None:
        plain._known_heads.clear()  # noqa: SLF001  # what a parser without a memory does
        plain.feed(data)

    return Part("a request out of its bytes; its head parsed by llhttp", lambda: parser.recognize(data), judged_anew)


def _reading(header: bytes) -> Part:
    reader, now = SignatureReader(), unix_time()

    def by_expression() -> None:
        signature = parse(header)
        assert isinstance(signature, Signature)
        check_time(signature, now)

    name = "the signature's header, its front remembered; by regular expression"
    return Part(name, lambda: reader.read(header, now), by_expression)


def _proving(request: Request, signature: Signature) -> Part:
    secret, digest = material.SECRET.encode(), body_digest(request.body)
    verifier = Verifier(secret)
    signed = (request.method, request.target, b"", digest)
    words = (b"NPv1", request.method, request.target, signature.t, signature.nonce, b"", digest)
    return Part(
        "its HMAC from a prepared secret; from the secret",
        lambda: verifier.holds(signature, *signed),
        lambda: hmac.digest(secret, b"\n".join(words), "sha256").hex(),
    )


def _asking(request: Request) -> Part:
    known = {request.body: body_digest(request.body)}
    decoder = msgspec.json.Decoder(Ask)
    return Part(
        "question and digest by the body's bytes; read and digested",
        lambda: known.get(request.body),
        lambda: (read(decoder, request.body), body_digest(request.body)),
    )


def _limiting() -> Part:
    """The rate limit of a license's own key; a platform key has none."""
    limit = RateLimit(1e9)
    return Part(
        "the limit of a license's own key, its headers remembered; written",
        lambda: rate_limit_lines(limit, limit.take("h", 1, monotonic()).remaining),
        lambda: rate_limit_lines.__wrapped__(limit, limit.take("h", 1, monotonic()).remaining),
    )


def _answering() -> Part:
    letterhead = Letterhead()
    letterhead.renew(unix_time(), unix_time())
    text = verdict_text(Verdict(Code.VALID, 43))
    return Part(
        "an answer from a verdict's text; the text made, too",
        lambda: letterhead.verdict(text, stale=False),
        lambda: letterhead.verdict(verdict_text(Verdict(Code.VALID, 43)), stale=False),
    )


def main() -> None:
    lines = [f"{'µs':>78}{'plainly':>10}"]
    lines += [f"{part.name:70}{micros(part.kept):>8.2f}{micros(part.plainly):>10.2f}" for part in parts()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
