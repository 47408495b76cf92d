"""However the bytes of an answer are cut into pieces, the exchange sees the same answer."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from s3dlio.errors import ProtocolError
from s3dlio.memory.sinks import MemorySink
from s3dlio.net.chunked import ChunkReader
from s3dlio.net.faults import ConnectionDropped
from tests.wire.harness import feed, offline_exchange, send_all

HEADS = st.sampled_from([b"", b"Connection: close\r\n", b'ETag: "a:b"\r\nX-Long: ' + b"v" * 300 + b"\r\n"])
INTERIM = st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nLink: <a>\r\n\r\n" * 2])


def chunked(body: bytes, sizes: list[int], trailer: bytes) -> bytes:
    out, at = bytearray(), 0
    for size in itertools.cycle(sizes):
        piece = body[at : at + size]
        if not piece:
            break
        out += b"%x;ext=1\r\n%b\r\n" % (len(piece), piece)
        at += size
    return bytes(out) + b"0\r\n" + trailer + b"\r\n"


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bytes, bool]:
    """The bytes of an answer, its body, and whether it ends with the connection."""
    body = draw(st.binary(max_size=200))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    head = draw(INTERIM) + b"HTTP/1.1 200 OK\r\n" + draw(HEADS)
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, body, False
    if framing == "close":
        return head + b"\r\n" + body, body, True
    sizes = draw(st.lists(st.integers(1, 50), min_size=1, max_size=4))
    trailer = draw(st.sampled_from([b"", b"x-amz-checksum: abc\r\n"]))
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, sizes, trailer), body, False


def run(pieces: list[bytes], *, closes: bool, to_sink: bool) -> tuple[bytes, bool, bytes]:
    sink = MemorySink() if to_sink else None
    exchange = offline_exchange(sink=sink)
    send_all(exchange)
    for piece in pieces:
        assert not exchange.done
        assert feed(exchange, piece) == len(piece)
    if closes:
        exchange.received(0)
    assert exchange.done
    response = exchange.response
    assert response is not None
    if sink is not None:
        sink.end(response.size)
    return bytes(sink.view() if sink is not None else response.body), exchange.reusable, response.head


@given(answers(), st.booleans())
def test_every_cut_in_two(answer: tuple[bytes, bytes, bool], to_sink: bool) -> None:
    data, body, closes = answer
    expected = run([data], closes=closes, to_sink=to_sink)
    assert expected[0] == body
    for at in range(1, len(data)):
        assert run([data[:at], data[at:]], closes=closes, to_sink=to_sink) == expected
    assert run([data[i : i + 1] for i in range(len(data))], closes=closes, to_sink=to_sink) == expected


@given(answers(), st.data())
def test_every_short_answer_is_noticed(answer: tuple[bytes, bytes, bool], data: st.DataObject) -> None:
    whole, _, closes = answer
    head_end = whole.rindex(b"\r\n\r\n") if closes else len(whole)
    cut = data.draw(st.integers(0, max(0, head_end - 1)))
    exchange = offline_exchange()
    send_all(exchange)
    feed(exchange, whole[:cut])
    assert not exchange.done
    try:
        exchange.received(0)
    except ConnectionDropped:
        return
    # Only a body without a length may end with the connection.
    assert closes


@given(st.binary(max_size=300), st.integers(0, 300))
def test_garbage_is_an_error_or_an_answer_never_a_crash(data: bytes, at: int) -> None:
    for head in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        exchange = offline_exchange()
        send_all(exchange)
        try:
            for piece in (head + data[:at], data[at:]):
                feed(exchange, piece)
            if not exchange.done:
                exchange.received(0)
        except (ProtocolError, ConnectionDropped):
            continue
        assert exchange.response is not None


@given(
    st.binary(max_size=100),
    st.lists(st.integers(1, 30), min_size=1, max_size=3),
    st.lists(st.integers(1, 40), min_size=1),
)
def test_chunks_however_they_arrive(body: bytes, sizes: list[int], cuts: list[int]) -> None:
    data = chunked(body, sizes, b"")
    reader, found, at = ChunkReader(), bytearray(), 0
    for cut in itertools.cycle(cuts):
        if at >= len(data):
            break
        for piece in reader.feed(memoryview(data)[at : at + cut]):
            found += piece
        at += cut
    assert reader.done
    assert not reader.extra
    assert bytes(found) == body
