"""Parser without socket and loop: bytes in any division give the same events."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.http.heads import Heads
from validator.http.limits import BODY_LIMIT, HEAD_LIMIT
from validator.http.protocol import (
    Continue,
    Event,
    ProtocolFault,
    Request,
    RequestParser,
)

POST = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SIGNED = b"POST /a HTTP/1.1\r\nHost: x\r\nNP-Signature: %b\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def events_of(stream: bytes, cuts: list[int] | None = None) -> list[Event]:
    parser = RequestParser()
    events: list[Event] = []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts or []), len(stream)]
    for start, end in pairwise(edges):
        events += parser.feed(stream[start:end])
    return events


def only_request(stream: bytes) -> Request:
    (event,) = events_of(stream)
    assert isinstance(event, Request)
    return event


def only_fault(stream: bytes) -> ProtocolFault:
    (event,) = events_of(stream)
    assert isinstance(event, ProtocolFault)
    return event


def test_a_request_carries_the_target_as_it_was_sent() -> None:
    request = only_request(POST)
    assert (request.method, request.target, request.body) == (b"POST", b"/a?b=c", b"abc")
    assert request.headers == {b"host": b"x", b"content-length": b"3"}
    assert request.keep_alive


def test_header_names_are_read_without_case() -> None:
    request = only_request(b"GET / HTTP/1.1\r\nHOST: x\r\nNP-SIGNATURE: k=A\r\n\r\n")
    assert request.signature == b"k=A"


def test_pipelined_requests_come_out_in_their_order() -> None:
    targets = [b"/%d" % number for number in range(50)]
    stream = b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target for target in targets)
    assert [event.target for event in events_of(stream) if isinstance(event, Request)] == targets


def test_a_request_shows_only_when_it_is_complete() -> None:
    parser = RequestParser()
    assert parser.feed(POST[:-1]) == []
    assert parser.in_midst
    assert len(parser.feed(POST[-1:])) == 1
    assert not parser.in_midst


def test_empty_lines_before_a_request_are_ignored() -> None:
    assert only_request(b"\r\n\r\n" + GET).target == b"/"


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Foo, Close\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", True),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_who_keeps_the_connection(head: bytes, keeps: bool) -> None:
    assert only_request(head + b"\r\n").keep_alive is keeps


def test_nothing_is_read_after_a_request_that_closes() -> None:
    closing = GET.replace(b"Host: x", b"Host: x\r\nConnection: close")
    assert len(events_of(closing + GET)) == 1


def test_an_upgrade_is_not_taken_up_and_its_body_is_read() -> None:
    upgrade = POST.replace(b"Host: x", b"Host: x\r\nConnection: upgrade\r\nUpgrade: h2c")
    first, second = events_of(upgrade + GET)
    assert isinstance(first, Request)
    assert first.body == b"abc"
    assert isinstance(second, Request)
    assert second.method == b"GET"


def test_too_many_empty_lines_are_no_beginning() -> None:
    assert only_fault(b"\r\n" * 9 + GET).status == 400


def second_of(first: bytes, second: bytes) -> list[Event]:
    """The events of a stream on a connection that has had another stream before."""
    parser = RequestParser()
    parser.feed(first)
    return list(parser.feed(second))


class TestWhatIsKeptOfAHead:
    """A request like the one before it is recognized; that must change nothing but the time."""

    @pytest.mark.parametrize(
        "signature",
        [
            b"k=a,t=1",
            b"k=b,t=22222",
            b"",
            b" a ",
            b"a b",
            b"a:b",
            b"a\tb",
            b"\xe9",
            b"k=a\x7f",
            b"k=a\0",
            b"k\n=a",
            b"k\r=a",
        ],
    )
    def test_the_second_request_is_read_like_a_first(self, signature: bytes) -> None:
        assert second_of(SIGNED % (b"z" * len(signature)), SIGNED % signature) == events_of(SIGNED % signature)

    def test_each_request_has_its_own_signature_and_body(self) -> None:
        events = [
            event for event in events_of(SIGNED % b"a" + SIGNED % b"b" + SIGNED % b"a") if isinstance(event, Request)
        ]
        assert [event.signature for event in events] == [b"a", b"b", b"a"]
        assert [event.body for event in events] == [b"hi"] * 3

    def test_another_header_is_another_head(self) -> None:
        first = SIGNED % b"a"
        for change in (
            first.replace(b"Host: x", b"Host: y"),
            first.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"),
            first.replace(b"Length: 2", b"Length: 1"),
            first.replace(b"POST", b"PUT"),
            first.replace(b"NP-Signature", b"NP-signature"),
            first.replace(b"NP-Signature", b"XX-Signature"),
            first.replace(b"HTTP/1.1", b"HTTP/1.0"),
            first.replace(b"NP-Signature: a", b"NP-Signature: a\r\nNP-Signature: b"),
            first.replace(b"NP-Signature: a", b"NP-Signature: a\r\nConnection: close"),
        ):
            for padding in (first, first.replace(b": a", b": " + b"a" * (1 + len(change) - len(first)))):
                assert second_of(padding, change) == events_of(change)

    def test_many_heads_of_one_connection_do_not_add_up(self) -> None:
        parser = RequestParser()
        for number in range(100):
            parser.feed((SIGNED % b"a").replace(b"Host: x", b"Host: " + b"x" * number))
        assert len(parser._known_heads) <= 16

    def test_connections_keep_a_head_that_they_share_once(self) -> None:
        heads = Heads()
        parsers = [RequestParser(heads) for _ in range(3)]
        for parser in parsers:
            parser.feed(bytes(bytearray(SIGNED % b"a")))  # bytes of its own, as each connection receives them
        kept = [pattern for parser in parsers for pattern in parser._known_heads.values()]
        assert len(kept) == 3
        assert all(pattern is kept[0] for pattern in kept)
        assert events_of(SIGNED % b"b") == list(parsers[1].feed(SIGNED % b"b"))

    @pytest.mark.parametrize(
        "last",
        [
            (SIGNED % b"a").replace(b"Host: x", b"Host: x\r\nConnection: close"),
            (SIGNED % b"a").replace(b"Host: x", b"Host: x\r\nConnection: Keep-Alive, Close"),
            (SIGNED % b"a").replace(b"Host: x", b"Host: x\r\nConnection: upgrade\r\nUpgrade: h2c"),
            (SIGNED % b"a").replace(b"HTTP/1.1", b"HTTP/1.0"),
            (SIGNED % b"a").replace(b"Content-Length: 2", b"Content-Length: two"),
            (SIGNED % b"a").replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
            (SIGNED % b"a").replace(b"Host: x", b"Host: x\r\nHost: y"),
            (SIGNED % b"a")[:-1],
            (SIGNED % b"a")[:20],
        ],
    )
    def test_what_ends_one_connection_is_nothing_to_the_next(self, last: bytes) -> None:
        heads = Heads()
        RequestParser(heads).feed(last)
        for _ in range(3):
            assert list(RequestParser(heads).feed(SIGNED % b"b")) == events_of(SIGNED % b"b")

    def test_the_heads_of_many_connections_do_not_add_up(self) -> None:
        heads = Heads()
        for number in range(3000):
            RequestParser(heads).feed((SIGNED % b"a").replace(b"Host: x", b"Host: " + b"x" * number))
        assert len(heads._known) <= 1024

    def test_a_signature_that_looks_like_another_header_s_value(self) -> None:
        twin = SIGNED.replace(b"Host: x", b"Host: a\r\nX: a") % b"a"
        assert second_of(twin, twin) == events_of(twin)


class TestChunkedBodies:
    @pytest.mark.parametrize(
        ("chunks", "body"),
        [
            (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
            (b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
            (b"A\r\n0123456789\r\n00\r\n\r\n", b"0123456789"),
            (b"3;name=value\r\nabc\r\n0\r\n\r\n", b"abc"),
            (b"3\r\nabc\r\n0\r\nTrailer: seen by nobody\r\n\r\n", b"abc"),
            (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
            (b"0\r\n\r\n", b""),
        ],
    )
    def test_are_put_together(self, chunks: bytes, body: bytes) -> None:
        first, second = events_of(CHUNKED + chunks + GET)
        assert isinstance(first, Request)
        assert first.body == body
        assert isinstance(second, Request)

    @pytest.mark.parametrize(
        "chunks",
        [
            b"\r\nabc",
            b"x\r\nabc",
            b"-3\r\nabc",
            b"0x3\r\nabc",
            b"3 3\r\nabc",
            b"123456789\r\n",
            b"2\r\nabc\r\n0\r\n\r\n",
            b"3\nabc\r\n0\r\n\r\n" + b" " * 300,
            b"3;" + b"e" * 300,
            b"0\r\nno colon\r\n\r\n",
            b"0\r\n" + b"a: b\r\n" * 1000,
        ],
    )
    def test_that_cannot_be_read_are_refused(self, chunks: bytes) -> None:
        assert only_fault(CHUNKED + chunks).status == 400

    def test_have_the_same_limit_as_others(self) -> None:
        many = b"ff\r\n" + b"x" * 255 + b"\r\n"
        assert only_fault(CHUNKED + many * (BODY_LIMIT // 255 + 1)).status == 413


class TestExpectations:
    WAITING = POST[:-3].replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")

    def test_the_client_is_told_to_go_on_before_its_body_came(self) -> None:
        parser = RequestParser()
        assert parser.feed(self.WAITING) == [Continue()]
        (request,) = parser.feed(b"abc")
        assert isinstance(request, Request)
        assert request.body == b"abc"

    def test_a_body_that_is_too_long_is_refused_before_it_is_sent(self) -> None:
        waiting = self.WAITING.replace(b"Length: 3", b"Length: 999999")
        assert only_fault(waiting).status == 413

    def test_there_is_nothing_to_wait_for_without_a_body(self) -> None:
        assert isinstance(only_request(GET.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")), Request)

    def test_others_are_not_known(self) -> None:
        assert only_fault(self.WAITING.replace(b"100-continue", b"a-miracle")).status == 417


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"\x16\x03\x01\x02\x00", 400),  # a TLS client that took the wrong port
        (b"\r\n{}", 400),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"FROBNICATE / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nNP-Signature: a\r\nNp-Signature: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505),
        (b"DESCRIBE / RTSP/1.0\r\nHost: x\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * HEAD_LIMIT, 431),
        (b"GET /" + b"a" * HEAD_LIMIT + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    ],
)
def test_what_is_no_http_of_ours_is_refused(stream: bytes, status: int) -> None:
    assert only_fault(stream).status == status


def test_nothing_is_heard_after_a_fault() -> None:
    assert len(events_of(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n" + GET)) == 1


def test_a_head_and_a_body_may_reach_their_limits() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nA: " % BODY_LIMIT
    fill = b"a" * (HEAD_LIMIT - len(head))
    request = only_request(head + fill + b"\r\n\r\n" + b"b" * BODY_LIMIT)
    assert len(request.body) == BODY_LIMIT
    assert only_fault(head + fill + b"a\r\n\r\n").status == 431


_TOKENS = st.sampled_from(
    [
        GET,
        POST,
        CHUNKED,
        b"3\r\nabc\r\n0\r\n\r\n",
        b"0\r\nA: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 1\r\n\r\n",
        SIGNED % b"k=a,t=1",
        SIGNED % b"k=b,t=2",
        SIGNED % b" padded ",
        SIGNED % b"",
        SIGNED % b"a\0b",
        SIGNED % b"a\r\nNP-Signature: b",
        SIGNED % b"a\r\nContent-Length: 2",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"ab",
        b"Content-Length: 5\r\n",
        b"A: " + b"a" * (HEAD_LIMIT - 30) + b"\r\n",
        b"ff\r\n",
        b"x" * 255,
    ]
)
STREAMS = st.one_of(
    st.lists(_TOKENS, max_size=8).map(b"".join),
    st.lists(st.one_of(_TOKENS, st.binary(max_size=12)), max_size=8).map(b"".join),
    st.binary(max_size=64),
)


@given(STREAMS, st.lists(st.integers(min_value=0), max_size=12))
def test_any_division_of_the_bytes_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    assert events_of(stream, cuts) == events_of(stream)


@given(STREAMS)
def test_one_byte_at_a_time_gives_the_same_events(stream: bytes) -> None:
    assert events_of(stream[:600], list(range(600))) == events_of(stream[:600])
