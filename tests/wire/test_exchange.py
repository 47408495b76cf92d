"""HTTP/1.1 as a state machine: no socket, every byte by hand."""

from __future__ import annotations

import os

import pytest

from s3dlio.errors import ProtocolError
from s3dlio.memory.pool import PAGE, SMALL
from s3dlio.memory.sinks import POOLED, BufferSink, DiscardSink, MemorySink
from s3dlio.net.chunked import MAX_LINE
from s3dlio.net.exchange import FIRST, MAX_ERROR, MAX_HEAD, MAX_INTERIM, SCRATCH, Exchange
from s3dlio.net.faults import ConnectionDropped
from s3dlio.net.file_body import STAGE
from tests.sinks import WriterSink
from tests.wire.harness import feed, offline_exchange, send_all

OK = b"HTTP/1.1 200 OK\r\n"


def answered(data: bytes, *, method: str = "GET", close: bool = False) -> Exchange:
    """An exchange whose request went out and that got ``data``."""
    exchange = offline_exchange(method=method)
    send_all(exchange)
    feed(exchange, data)
    if close and not exchange.done:
        exchange.received(0)
    return exchange


def body_of(exchange: Exchange) -> bytes:
    assert exchange.done
    assert exchange.response is not None
    return bytes(exchange.response.body)


# -- framing


def test_a_body_with_a_length() -> None:
    exchange = answered(OK + b"Content-Length: 5\r\n\r\nhello")
    assert body_of(exchange) == b"hello"
    assert exchange.reusable


def test_an_empty_body() -> None:
    exchange = answered(OK + b"Content-Length: 0\r\n\r\n")
    assert body_of(exchange) == b""
    assert exchange.reusable


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", OK + b"Content-Length: 500\r\n\r\n"),
        ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
    ],
)
def test_answers_without_a_body(method: str, head: bytes) -> None:
    exchange = answered(head, method=method)
    assert body_of(exchange) == b""
    assert exchange.reusable


def test_bytes_after_an_answer_without_a_body_end_the_connection() -> None:
    exchange = answered(OK + b"Content-Length: 3\r\n\r\nabc", method="HEAD")
    assert body_of(exchange) == b""
    assert not exchange.reusable


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"5;name=value\r\nhello\r\n0;last\r\n\r\n",
        b'5 ; name = "a;b"\r\nhello\r\n0\r\n\r\n',
        b"0005\r\nhello\r\n000\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n",
    ],
)
def test_chunks(chunks: bytes) -> None:
    exchange = answered(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert body_of(exchange) == b"hello"
    assert exchange.reusable


@pytest.mark.parametrize("size", ["A", "a", "0a"])
def test_chunk_sizes_are_hexadecimal(size: str) -> None:
    exchange = answered(OK + b"Transfer-Encoding: Chunked\r\n\r\n" + size.encode() + b"\r\n0123456789\r\n0\r\n\r\n")
    assert body_of(exchange) == b"0123456789"


@pytest.mark.parametrize(
    "chunks",
    [
        b"\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5_0\r\nhello\r\n",
        b"g\r\nhello\r\n",
        b"11111111111111111\r\nhello\r\n",
        b";only-an-extension\r\n",
        b"5\nhello\r\n",
        b"5\r\nhelloworld\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5;" + b"x" * MAX_LINE + b"\r\nhello\r\n",
        b"0\r\nX-Trailer: " + b"x" * MAX_LINE + b"\r\n\r\n",
        b"f" * (MAX_LINE + 1),
    ],
)
def test_bad_chunks(chunks: bytes) -> None:
    with pytest.raises(ProtocolError):
        answered(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)


def test_bytes_after_the_last_chunk_end_the_connection() -> None:
    exchange = answered(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nextra")
    assert body_of(exchange) == b"hello"
    assert not exchange.reusable


def test_a_body_until_close() -> None:
    exchange = answered(OK + b"\r\nhello", close=True)
    assert body_of(exchange) == b"hello"
    assert not exchange.reusable


def test_bytes_after_the_body() -> None:
    with pytest.raises(ProtocolError, match="more than the Content-Length"):
        answered(OK + b"Content-Length: 5\r\n\r\nhello world")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 2",
        OK + b"Content-Len",
        OK + b"Content-Length: 5\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nhell",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_closed_before_the_answer_was_complete(data: bytes) -> None:
    exchange = answered(data)
    with pytest.raises(ConnectionDropped) as caught:
        exchange.received(0)
    assert caught.value.untouched == (data == b"" or data.startswith(b"HTTP/1.1 100"))


def test_a_drop_tells_how_much_had_arrived() -> None:
    exchange = offline_exchange(sink=MemorySink())
    send_all(exchange)
    feed(exchange, OK + b"Content-Length: 50\r\n\r\n0123456789")
    with pytest.raises(ConnectionDropped) as caught:
        exchange.received(0)
    assert caught.value.received == 10
    assert caught.value.response is not None


# -- heads


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.2 200 OK",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1 600 High",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 abc OK",
        b"HTTP/1.1 2\xb20 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"SSH-2.0-OpenSSH_9.2",
        b"<html>",
        b"",
    ],
)
def test_bad_status_lines(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        answered(line + b"\r\nContent-Length: 0\r\n\r\n")


def test_a_status_line_without_a_reason() -> None:
    for line in (b"HTTP/1.1 200", b"HTTP/1.1 200 "):
        assert body_of(answered(line + b"\r\nContent-Length: 2\r\n\r\nab")) == b"ab"


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nContent-Length: \r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5_0\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: five\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"X-Folded: a\r\n b\r\nContent-Length: 5\r\n",
        b"X-Folded: a\r\n\tb\r\nContent-Length: 5\r\n",
        b"X-Nul: a\x00b\r\nContent-Length: 5\r\n",
    ],
)
def test_bad_fields(fields: bytes) -> None:
    with pytest.raises(ProtocolError):
        answered(OK + fields + b"\r\nhello")


def test_equal_lengths_are_one() -> None:
    assert body_of(answered(OK + b"Content-Length: 5\r\nContent-Length:5 \r\n\r\nhello")) == b"hello"


def test_the_size_of_a_head_is_limited_however_it_arrives() -> None:
    for size, piece in [(MAX_HEAD + 10, 1 << 20), (MAX_HEAD + 10, 1000), (3 * MAX_HEAD, 1 << 20)]:
        exchange = offline_exchange(scratch=piece)
        send_all(exchange)
        head = OK + b"X: " + b"x" * (size - len(OK) - 3)
        with pytest.raises(ProtocolError, match="larger than"):
            feed(exchange, head + b"\r\nContent-Length: 0\r\n\r\n")
    filling = b"x" * (MAX_HEAD - len(OK) - 3 - 21)
    assert body_of(answered(OK + b"X: " + filling + b"\r\nContent-Length: 0\r\n\r\n")) == b""


def test_something_else_than_http_is_noticed_at_its_first_byte() -> None:
    with pytest.raises(ProtocolError):
        answered(b"\x15\x03\x01\x00\x02\x02\x16")


def test_fields_are_found_whatever_their_case() -> None:
    response = answered(OK + b'eTaG:  "abc" \r\nX-Empty:\r\ncontent-length: 0\r\n\r\n').response
    assert response is not None
    assert response.header(b"etag") == '"abc"'
    assert response.header(b"x-empty") == ""
    assert response.header(b"tag") is None
    assert response.fields() == [("etag", '"abc"'), ("x-empty", ""), ("content-length", "0")]
    assert response.reason == "OK"


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_who_keeps_the_connection(head: bytes, keeps: bool) -> None:
    exchange = answered(head + b"Content-Length: 2\r\n\r\nab")
    assert exchange.reusable is keeps


# -- interim answers and expectations


def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    exchange = answered(interim + OK + b"Content-Length: 2\r\n\r\nab")
    assert body_of(exchange) == b"ab"
    assert exchange.reusable


def test_interim_answers_come_to_an_end() -> None:
    with pytest.raises(ProtocolError, match="interim"):
        answered(b"HTTP/1.1 102 P\r\n\r\n" * (MAX_INTERIM + 1) + OK + b"Content-Length: 0\r\n\r\n")
    with pytest.raises(ProtocolError):
        answered(b"HTTP/1.1 100 \r\n\r\n" * 3400)


def test_nobody_switches_protocols() -> None:
    with pytest.raises(ProtocolError, match="switched"):
        answered(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")


def expecting(body: bytes = b"x" * 100) -> Exchange:
    exchange = offline_exchange(method="PUT", body=body, expect=True)
    assert b"expect: 100-continue\r\n" in send_all(exchange)
    assert exchange.awaiting_continue
    return exchange


def test_the_body_follows_the_go_ahead() -> None:
    exchange = expecting()
    feed(exchange, b"HTTP/1.1 100 Con")
    assert exchange.awaiting_continue
    feed(exchange, b"tinue\r\n\r\n")
    assert send_all(exchange) == b"x" * 100
    feed(exchange, OK + b"Content-Length: 0\r\n\r\n")
    assert exchange.done
    assert exchange.reusable


def test_another_interim_answer_is_no_go_ahead() -> None:
    exchange = expecting()
    feed(exchange, b"HTTP/1.1 102 Processing\r\n\r\n")
    assert exchange.awaiting_continue
    assert not exchange.sending


def test_the_body_goes_without_the_go_ahead_when_the_driver_says_so() -> None:
    exchange = expecting()
    exchange.proceed()
    assert send_all(exchange) == b"x" * 100
    feed(exchange, b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n")
    assert exchange.done
    assert exchange.reusable


def test_a_go_ahead_that_comes_while_the_head_is_sent() -> None:
    exchange = offline_exchange(method="PUT", body=b"x" * 100, expect=True)
    exchange.sent(10)
    feed(exchange, b"HTTP/1.1 100 Continue\r\n\r\n")
    assert send_all(exchange).endswith(b"\r\n\r\n" + b"x" * 100)


@pytest.mark.parametrize("status", [b"403 Forbidden", b"417 Expectation Failed", b"500 Oops", b"307 Elsewhere"])
def test_a_refused_body_is_not_sent(status: bytes) -> None:
    exchange = expecting()
    feed(exchange, b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nno")
    assert not exchange.sending
    assert not exchange.awaiting_continue
    assert body_of(exchange) == b"no"
    assert not exchange.reusable


def test_an_early_refusal_stops_the_body() -> None:
    exchange = offline_exchange(method="PUT", body=b"x" * 1000)
    exchange.sent(500)
    feed(exchange, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert exchange.done
    assert not exchange.sending
    assert not exchange.reusable


def test_a_body_cannot_be_accepted_before_it_was_sent() -> None:
    exchange = offline_exchange(method="PUT", body=b"x" * 1000)
    exchange.sent(500)
    with pytest.raises(ProtocolError, match="had not received"):
        feed(exchange, OK + b"Content-Length: 0\r\n\r\n")


def test_an_empty_body_expects_nothing_more() -> None:
    exchange = offline_exchange(method="PUT", body=b"")
    assert send_all(exchange).endswith(b"\r\n\r\n")
    feed(exchange, OK + b"Content-Length: 0\r\n\r\n")
    assert exchange.reusable


# -- places


def test_a_body_goes_straight_to_its_place() -> None:
    sink = MemorySink()
    exchange = offline_exchange(sink=sink)
    send_all(exchange)
    feed(exchange, OK + b"Content-Length: 100\r\n\r\n" + b"a" * 40)
    assert exchange.wanted == 60
    assert len(exchange.room()) == 60
    feed(exchange, b"b" * 60)
    assert exchange.done
    assert bytes(sink.view()) == b"a" * 40 + b"b" * 60


def test_after_a_large_body_the_next_one_is_received_into_its_place_from_the_start() -> None:
    sink = MemorySink()
    exchange = offline_exchange(sink=sink, last_body=128 * 1024)
    send_all(exchange)
    assert len(exchange.room()) == FIRST  # enough for a head; what follows is not copied
    body = bytes(range(256)) * 512
    data = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    assert feed(exchange, data[:FIRST]) == FIRST
    assert exchange.wanted == len(data) - FIRST
    feed(exchange, data[FIRST:])
    assert exchange.done
    assert exchange.reusable
    assert bytes(sink.view()) == body


@pytest.mark.parametrize("size", [0, 1, 100, POOLED - 1, POOLED, SMALL - 1, SMALL, SMALL + 1, SCRATCH + 1])
def test_a_body_of_another_size_than_the_last_one_arrives_whole(size: int) -> None:
    sink = MemorySink()
    exchange = offline_exchange(sink=sink, last_body=0 if size > SMALL else 128 * 1024)
    send_all(exchange)
    body = bytes(number % 251 for number in range(size))
    head = OK + b"X-Amz-Meta-Long: " + b"v" * FIRST + b"\r\nContent-Length: %d\r\n\r\n" % size
    feed(exchange, head + body)
    assert exchange.done
    assert bytes(sink.view()) == body
    assert exchange.request.service.pool.last_body == size


def test_a_body_for_a_function_comes_in_large_pieces_whatever_the_last_one_was() -> None:
    exchange = offline_exchange(sink=DiscardSink(), last_body=128 * 1024)
    assert len(exchange.room()) == SCRATCH


def test_the_body_of_an_error_is_kept_from_the_sink() -> None:
    sink = MemorySink()
    exchange = offline_exchange(sink=sink)
    send_all(exchange)
    feed(exchange, b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope")
    assert body_of(exchange) == b"nope"
    assert sink.size is None


def test_a_chunked_body_in_a_sink() -> None:
    sink = MemorySink()
    exchange = offline_exchange(sink=sink)
    send_all(exchange)
    feed(exchange, OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert exchange.done
    sink.end(5)
    assert bytes(sink.view()) == b"abcde"


def test_a_body_that_fits_no_buffer_is_refused_before_a_byte_is_written() -> None:
    buffer = bytearray(4)
    exchange = offline_exchange(sink=BufferSink(memoryview(buffer)))
    send_all(exchange)
    with pytest.raises(ValueError, match="5 bytes"):
        feed(exchange, OK + b"Content-Length: 5\r\n\r\nhello")
    assert buffer == bytes(4)


def test_what_a_sink_raises_is_no_fault_of_the_connection() -> None:
    def full(data: memoryview) -> None:
        raise OSError(28, "No space left on device")

    exchange = offline_exchange(sink=WriterSink(full))
    send_all(exchange)
    with pytest.raises(OSError, match="No space") as caught:
        feed(exchange, OK + b"Content-Length: 5\r\n\r\nhello")
    assert not isinstance(caught.value, ConnectionDropped)


def test_an_answer_that_asks_for_more_is_cut() -> None:
    exchange = offline_exchange(sink=DiscardSink())
    beside = offline_exchange().request
    exchange.request.on_head = lambda response, length: (10, [beside])
    send_all(exchange)
    feed(exchange, OK + b"Content-Length: 100\r\n\r\n" + b"x" * 30)
    assert exchange.done
    assert exchange.more == [beside]
    assert exchange.response is not None
    assert exchange.response.size == 10
    assert not exchange.reusable


def test_a_large_body_for_a_function_comes_in_stages() -> None:
    data = os.urandom(3 * STAGE + 12345)
    pieces: list[bytes] = []
    exchange = offline_exchange(sink=WriterSink(lambda piece: pieces.append(bytes(piece))))
    send_all(exchange)
    stream = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data
    at = 0
    while not exchange.done:
        room = exchange.room()
        count = min(len(room), len(stream) - at, 100_000)
        room[:count] = stream[at : at + count]
        exchange.received(count)
        at += count
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) == STAGE


@pytest.mark.parametrize("start", [0, 12345])
def test_stages_begin_with_a_page(start: int) -> None:
    size = 3 * STAGE + 12345
    pieces: list[int] = []
    sink = WriterSink(lambda piece: pieces.append(len(piece)))
    exchange = offline_exchange(sink=sink)
    exchange.request.start = start
    send_all(exchange)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    exchange.room()[: len(head) + 999] = head + b"b" * 999
    exchange.received(len(head) + 999)
    while not exchange.done:
        exchange.received(len(exchange.room()))
    begins = [start + sum(pieces[:number]) for number in range(2, len(pieces))]  # behind what came with the head
    assert len(begins) >= 3
    assert all(begin % PAGE == 0 for begin in begins)


def test_what_is_staged_has_not_arrived() -> None:
    pieces: list[bytes] = []
    exchange = offline_exchange(sink=WriterSink(lambda piece: pieces.append(bytes(piece))))
    send_all(exchange)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * STAGE)
    for part in (head, b"a" * 1000, b"b" * 5000):
        room = exchange.room()
        room[: len(part)] = part
        exchange.received(len(part))
    with pytest.raises(ConnectionDropped) as caught:
        exchange.received(0)
    assert caught.value.received == len(b"".join(pieces)) == 1000


@pytest.mark.parametrize("framing", [b"Content-Length: 3000000", b"Transfer-Encoding: chunked", b"X: until the end"])
def test_of_the_body_of_an_error_a_mebibyte_is_kept(framing: bytes) -> None:
    exchange = offline_exchange()
    send_all(exchange)
    chunk = b"2dc6c0\r\n" if b"chunked" in framing else b""
    data = b"HTTP/1.1 403 No\r\n" + framing + b"\r\n\r\n" + chunk + bytes(3_000_000)
    assert feed(exchange, data) < 1_300_000
    assert exchange.done
    assert not exchange.reusable
    assert exchange.response is not None
    assert len(exchange.response.body) == MAX_ERROR


@pytest.mark.parametrize("endless", [b"0\r\n" + b"x: y\r\n" * 20_000, b"1;" + b"x" * 9000 + b"\r\na\r\n"])
def test_trailers_and_chunk_extensions_come_to_an_end(endless: bytes) -> None:
    exchange = offline_exchange()
    send_all(exchange)
    with pytest.raises(ProtocolError, match="extensions and trailers"):
        feed(exchange, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + endless * 10)
