"""`python -m bench.parts`: what the parts of one validation from memory cost, and what each would cost done plainly.

No socket and no loop: only our own code, timed with a fixed number of calls; the best of some repeats, which is the one
that others disturbed least. What remains up to the figure of `python -m bench` is the kernel's and the loop's.
"""

import hmac
import sys
from collections.abc import Callable
from timeit import repeat
from typing import Final

import msgspec

from bench import material
from core.clock import unix_time
from core.crypto.signature import Reader, Signature, Verifier, body_digest, check_time, parse
from core.licensing.verdict import Code, Verdict
from validator.answers import Letterhead, verdict_text
from validator.protocol import Request, RequestParser
from validator.wire import Ask, read

_CALLS: Final = 20_000
_REPEATS: Final = 7
_KEY: Final = "NP-AAAA-BBBB-CCCC"


def micros(what: Callable[[], object]) -> float:
    return min(repeat(what, number=_CALLS, repeat=_REPEATS)) / _CALLS * 1e6


def main() -> None:
    (data,) = material.signed_requests([_KEY])
    parser = RequestParser()
    (request,) = parser.feed(data)
    assert isinstance(request, Request)
    plain = RequestParser()

    def judged_anew() -> None:
        plain._patterns.clear()  # noqa: SLF001  # what a parser without a memory does
        plain.feed(data)

    header = request.signature
    assert header is not None
    reader, now = Reader(), unix_time()
    signature = parse(header)
    assert isinstance(signature, Signature)
    secret, digest = material.SECRET.encode(), body_digest(request.body)
    verifier = Verifier(secret)
    signed = (request.method, request.target, b"", digest)
    letterhead = Letterhead()
    letterhead.renew(now, now)
    text = verdict_text(Verdict(Code.VALID, 43))
    known = {request.body: (text, digest)}
    decoder = msgspec.json.Decoder(Ask)
    words = (request.method, request.target, signature.t, signature.nonce, b"", digest)

    rows: tuple[tuple[str, Callable[[], object], Callable[[], object]], ...] = (
        ("a request out of its bytes; its head judged by llhttp", lambda: parser.feed(data), judged_anew),
        (
            "the signature's header, its front remembered; by regular expression",
            lambda: reader.read(header, now),
            lambda: _plainly(header, now),
        ),
        (
            "its HMAC from a prepared secret; from the secret",
            lambda: verifier.holds(signature, *signed),
            lambda: hmac.digest(secret, b"\n".join((b"NPv1", *words)), "sha256").hex(),
        ),
        (
            "question and digest by the body's bytes; read and digested",
            lambda: known.get(request.body),
            lambda: (read(decoder, request.body), body_digest(request.body)),
        ),
        (
            "an answer from a verdict's text; the text made, too",
            lambda: letterhead.verdict(text, stale=False),
            lambda: letterhead.verdict(verdict_text(Verdict(Code.VALID, 43)), stale=False),
        ),
    )
    lines = [f"{'µs':>78}{'plainly':>10}"]
    lines += [f"{name:70}{micros(kept):>8.2f}{micros(done):>10.2f}" for name, kept, done in rows]
    sys.stdout.write("\n".join(lines) + "\n")


def _plainly(header: bytes, now: float) -> None:
    signature = parse(header)
    assert isinstance(signature, Signature)
    check_time(signature, now)


if __name__ == "__main__":
    main()
