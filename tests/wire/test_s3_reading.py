"""Reads from S3: one get is one request, large ones are ranges of one version, broken ones go on where they stopped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3dlio.errors import IntegrityError, NetworkError, ObjectChangedError, ProtocolError
from s3dlio.memory import crc32c
from s3dlio.memory.pool import default_pool
from s3dlio.memory.sinks import BufferSink, FileSink, MemorySink
from s3dlio.memory.sources import landed
from s3dlio.types import ObjectMetadata
from tests.leases import assert_returned
from tests.servers.scripted import (
    Close,
    Expect,
    ExpectClose,
    ReceivedRequest,
    Reset,
    ScriptedServer,
    Send,
    Wait,
    respond,
)
from tests.sinks import WriterSink
from tests.wire.s3_harness import error, read, store_of

KIB = 1024
BODY = bytes(range(256)) * 1200  # 300 KiB
SMALL_RANGES = {"threshold": 64 * KIB, "chunk": 64 * KIB, "concurrency": 4}


@pytest.fixture(params=["blocking", "lane"])
def lane(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "lane")


@pytest.fixture(autouse=True)
def _no_buffer_is_lost() -> Iterator[None]:
    before = default_pool().stats().leased
    yield
    import gc

    gc.collect()
    assert_returned(before)


def range_of(seen: ReceivedRequest) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers["range"])
    assert match
    return int(match[1]), int(match[2])


def whole(body: bytes = BODY, etag: str = '"v1"', **fields: str) -> Send:
    headers = [("ETag", etag), *((name.replace("_", "-"), value) for name, value in fields.items())]
    return respond(body=body, headers=headers)


def part(first: int, last: int, body: bytes = BODY, etag: str = '"v1"') -> Send:
    headers = [("ETag", etag), ("Content-Range", f"bytes {first}-{last}/{len(body)}")]
    return respond("206 Partial Content", body=body[first : last + 1], headers=headers)


#: In a script: the answer to the range that was asked for.
ANSWER = Send(b"")


class Answering(ScriptedServer):
    """Each range connection answers the range that it was asked for."""

    def _perform(self, index: int, connection: Any, action: Any) -> None:
        if action is ANSWER:
            first, last = range_of(self.requests[index][-1])
            action = part(first, last)
        super()._perform(index, connection, action)


def cut(answer: Send, body_bytes: int) -> Send:
    return Send(answer.data[: answer.data.index(b"\r\n\r\n") + 4 + body_bytes])


def asks(first: int, last: int, etag: str = '"v1"') -> Expect:
    return Expect(lambda seen: range_of(seen) == (first, last) and seen.headers.get("if-match") == etag)


# -- one request


@pytest.mark.parametrize("size", [0, 1, 5000, 64 * KIB])
def test_one_get_is_one_request(lane: bool, size: int) -> None:
    with ScriptedServer([[Expect(lambda seen: "range" not in seen.headers), whole(BODY[:size])]]) as server:
        sink = MemorySink()
        read(store_of(server.endpoint, range=SMALL_RANGES), "k", sink, lane=lane)
        assert bytes(sink.view()) == BODY[:size]
        assert len(server.all_requests) == 1
        server.assert_consumed()


def test_a_large_object_is_read_in_ranges_of_one_version(lane: bool) -> None:
    chunk, size = 64 * KIB, len(BODY)
    bounds = [(start, min(start + chunk, size) - 1) for start in range(chunk, size, chunk)]
    wanted = set(bounds)

    def is_range(seen: ReceivedRequest) -> bool:
        return range_of(seen) in wanted and seen.headers["if-match"] == '"v1"'

    with Answering([[Expect(b"GET /b/k HTTP"), whole()], *[[Expect(is_range), ANSWER]] * 4]) as server:
        sink = MemorySink()
        read(store_of(server.endpoint, range=SMALL_RANGES), "k", sink, lane=lane)
        assert bytes(sink.view()) == BODY
        assert sorted(range_of(seen) for seen in server.all_requests if "range" in seen.headers) == bounds
        server.assert_consumed()


def test_ranges_that_have_no_room_yet_belong_to_the_read() -> None:
    """The first chunk is complete before the second one is asked for: the read is not."""
    with Answering([[Expect(b"GET /b/k HTTP"), whole()], [Expect(b"GET /b/k HTTP"), ANSWER] * 4]) as server:
        sink = MemorySink()
        read(store_of(server.endpoint, range=SMALL_RANGES), "k", sink, lane=True, width=1)
        assert bytes(sink.view()) == BODY
        server.assert_consumed()


def one_range(answer: Send | list[Any]) -> list[list[Any]]:
    """Scripts for an object of two chunks: the first request as always, the range as given."""
    more = answer if isinstance(answer, list) else [answer]
    return [[Expect(b"GET /b/k HTTP"), whole(TWO)], [Expect(), *more]]


def check_read(server: ScriptedServer, data: bytes, *, lane: bool) -> None:
    """A read in small ranges gets ``data``, with just the requests that the server has a script for."""
    sink = MemorySink()
    read(store_of(server.endpoint, range=SMALL_RANGES), "k", sink, lane=lane)
    assert bytes(sink.view()) == data
    server.assert_consumed()


TWO = BODY[: 100 * KIB]
FIRST, LAST = 64 * KIB, 100 * KIB - 1


@pytest.mark.parametrize(
    "answer",
    [
        error("412 Precondition Failed", "PreconditionFailed"),
        whole(TWO, etag='"v2"'),
        part(FIRST, LAST, TWO, etag='"v2"'),
        respond("206 Partial Content", body=TWO[FIRST:],
                headers=[("Content-Range", f"bytes {FIRST}-{LAST}/{LAST + 9}")]),
    ],
    ids=["412", "200", "206 of another", "206 of another size"],
)
def test_an_object_that_changes_is_an_error_never_a_mixture(lane: bool, answer: Send) -> None:
    with ScriptedServer(one_range(answer)) as server:
        with pytest.raises(ObjectChangedError):
            read(store_of(server.endpoint, range=SMALL_RANGES), "k", MemorySink(), lane=lane)
        server.assert_consumed()


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Range", f"bytes {FIRST + 1}-{LAST}/{len(TWO)}")],
        [("Content-Range", f"bytes {FIRST}-{LAST - 1}/{len(TWO)}")],
        [("Content-Range", "nonsense")],
        [],
    ],
)
def test_another_range_than_asked_for(lane: bool, fields: list[tuple[str, str]]) -> None:
    answer = respond("206 Partial Content", body=TWO[FIRST:], headers=[("ETag", '"v1"'), *fields])
    with ScriptedServer(one_range(answer)) as server:
        with pytest.raises(ProtocolError):
            read(store_of(server.endpoint, range=SMALL_RANGES), "k", MemorySink(), lane=lane)
        server.assert_consumed()


def test_a_range_that_fails_and_comes_again(lane: bool) -> None:
    scripts = one_range(error("503 Slow Down", "SlowDown"))
    scripts[1] += [asks(FIRST, LAST), part(FIRST, LAST, TWO)]
    with ScriptedServer(scripts) as server:
        check_read(server, TWO, lane=lane)


def test_the_error_of_a_range_that_breaks_off_leaves_no_hole(lane: bool) -> None:
    """The bytes of the error are none of the object: the range is asked for again from its start."""
    broken = Send(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 1000\r\n\r\n" + b"<Error>" * 20)
    scripts = [*one_range([broken, Close()]), [asks(FIRST, LAST), part(FIRST, LAST, TWO)]]
    with ScriptedServer(scripts) as server:
        check_read(server, TWO, lane=lane)


def test_a_range_goes_on_where_it_stopped(lane: bool) -> None:
    scripts = [
        *one_range([cut(part(FIRST, LAST, TWO), 1000), Reset()]),
        [asks(FIRST + 1000, LAST), part(FIRST + 1000, LAST, TWO)],
    ]
    with ScriptedServer(scripts) as server:
        check_read(server, TWO, lane=lane)


def test_a_range_in_chunks(lane: bool) -> None:
    head = f'HTTP/1.1 206 Partial Content\r\nETag: "v1"\r\nContent-Range: bytes {FIRST}-{LAST}/{len(TWO)}\r\n'
    body = TWO[FIRST:]
    answer = Send(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    with ScriptedServer(one_range(answer)) as server:
        check_read(server, TWO, lane=lane)


def test_without_an_etag_there_are_no_ranges(lane: bool) -> None:
    for headers in ([], [("ETag", 'W/"weak"')]):
        with ScriptedServer([[Expect(), respond(body=BODY, headers=headers)]]) as server:
            check_read(server, BODY, lane=lane)


def test_a_large_body_without_a_length(lane: bool) -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "v1"\r\nTransfer-Encoding: chunked\r\n\r\n'
    with ScriptedServer([[Expect(), Send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))]]) as server:
        check_read(server, BODY, lane=lane)


def test_ranges_are_read_from_where_a_redirect_led(lane: bool) -> None:
    """As AIStore does, whose proxies send every reader to the node that has the object."""
    with ScriptedServer(
        [[Expect(b"GET /node/k?t=1 "), whole(TWO)], [asks(FIRST, LAST), part(FIRST, LAST, TWO)]]
    ) as node:
        there = respond("307 There", headers=[("Location", f"{node.endpoint}/node/k?t=1")])
        with ScriptedServer([[Expect(b"GET /b/k "), there]]) as server:
            check_read(server, TWO, lane=lane)
        assert {seen.target for seen in node.all_requests} == {"/node/k?t=1"}
        node.assert_consumed()


# -- broken reads


def test_a_read_goes_on_where_it_stopped(lane: bool, tmp_path: Path) -> None:
    last = len(BODY) - 1
    scripts = [
        [Expect(lambda seen: "range" not in seen.headers), cut(whole(), 100_000), Close()],
        # No more than the first window of TCP holds: a reset drops what has not left yet.
        [asks(100_000, last), cut(part(100_000, last), 20_000), Wait(0.05), Reset()],
        [asks(120_000, last), part(120_000, last)],
    ]
    written = bytearray()
    buffer = bytearray(len(BODY))
    with open(tmp_path / "f", "w+b") as file:
        sinks = [MemorySink(), BufferSink(memoryview(buffer), exact=True), FileSink(file.fileno())]
        for sink in [*sinks, WriterSink(written.extend)]:
            with ScriptedServer(scripts) as server:
                read(store_of(server.endpoint), "k", sink, lane=lane)
                server.assert_consumed()
        assert isinstance(sinks[0], MemorySink)
        assert bytes(sinks[0].view()) == buffer == file.read() == written == BODY


def test_an_object_that_changed_meanwhile(lane: bool) -> None:
    for answer in (error("412 Precondition Failed", "PreconditionFailed"), whole(b"new" * 99, etag='"v2"')):
        with ScriptedServer([[Expect(), cut(whole(), 1000), Close()], [Expect(), answer]]) as server:
            with pytest.raises(ObjectChangedError, match="replaced while it was read"):
                read(store_of(server.endpoint), "k", MemorySink(), lane=lane)
            server.assert_consumed()


def test_without_an_etag_a_read_starts_over(lane: bool) -> None:
    first = cut(respond(body=BODY), 100_000)
    chunked = Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nanew\r\n0\r\n\r\n")
    for answer, expected in ((respond(body=BODY), BODY), (chunked, b"anew")):
        with ScriptedServer([[Expect(), first, Close()], [Expect(), answer]]) as server:
            sink = MemorySink()
            read(store_of(server.endpoint), "k", sink, lane=lane)
            assert bytes(sink.view()) == expected
            assert all("range" not in seen.headers for seen in server.all_requests)
            server.assert_consumed()


def test_a_read_that_never_gets_on(lane: bool) -> None:
    last = len(BODY) - 1
    again = [asks(1000, last), cut(part(1000, last), 0), Close()]
    with ScriptedServer([[Expect(), cut(whole(), 1000), Close()], again, again]) as server:
        with pytest.raises(NetworkError, match="after 3 attempts") as caught:
            read(store_of(server.endpoint), "k", MemorySink(), lane=lane)
        assert caught.value.uri == "s3://b/k"
        server.assert_consumed()


# -- ranges that the caller asks for


def test_a_range(lane: bool) -> None:
    with ScriptedServer([[Expect(lambda seen: range_of(seen) == (10, 19)), part(10, 19)]]) as server:
        sink = MemorySink()
        read(store_of(server.endpoint), "k", sink, lane=lane, offset=10, length=10)
        assert bytes(sink.view()) == BODY[10:20]
        server.assert_consumed()


def test_a_range_that_comes_in_chunks(lane: bool) -> None:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-19/1000\r\nTransfer-Encoding: chunked\r\n\r\n"
    for body, error_type in ((b"0123456789", None), (b"01234", NetworkError), (b"0123456789ab", ProtocolError)):
        answer = [Expect(), Send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))]
        with ScriptedServer([answer] * (3 if error_type is NetworkError else 1)) as server:
            sink = MemorySink()
            store = store_of(server.endpoint)
            if error_type is None:
                read(store, "k", sink, lane=lane, offset=10, length=10)
                assert bytes(sink.view()) == body
            else:
                with pytest.raises(error_type):
                    read(store, "k", sink, lane=lane, offset=10, length=10)
            server.assert_consumed()


def test_a_range_beyond_the_end_is_empty(lane: bool) -> None:
    answer = respond("416 Range Not Satisfiable", headers=[("Content-Range", "bytes */5")])
    with ScriptedServer([[Expect(), answer]]) as server:
        sink = MemorySink()
        read(store_of(server.endpoint), "k", sink, lane=lane, offset=10, length=10)
        assert bytes(sink.view()) == b""
        server.assert_consumed()


def test_a_server_that_ignores_ranges(lane: bool) -> None:
    with ScriptedServer([[Expect(), whole()]]) as server:
        with pytest.raises(ProtocolError, match="ignored the range"):
            read(store_of(server.endpoint), "k", MemorySink(), lane=lane, offset=10, length=10)
        server.assert_consumed()


def test_a_server_that_sends_more_than_the_range(lane: bool) -> None:
    with ScriptedServer([[Expect(), part(10, 30)]]) as server:
        with pytest.raises(ProtocolError, match="more than the range"):
            read(store_of(server.endpoint), "k", MemorySink(), lane=lane, offset=10, length=10)
        server.assert_consumed()


# -- checksums

CHECKED = {"response_checksum_validation": "when_supported"}


def test_a_whole_read_is_verified(lane: bool, tmp_path: Path) -> None:
    crc = crc32c.to_base64(crc32c.crc32c(BODY))
    scripts = [
        [Expect(lambda seen: seen.headers["x-amz-checksum-mode"] == "ENABLED"), whole(x_amz_checksum_crc32c=crc)]
    ]
    with open(tmp_path / "f", "w+b") as file:
        for sink in (MemorySink(), FileSink(file.fileno()), WriterSink(lambda data: None)):
            with ScriptedServer(scripts) as server:
                read(store_of(server.endpoint, s3=CHECKED), "k", sink, lane=lane)
                server.assert_consumed()
            with ScriptedServer([[Expect(), whole(x_amz_checksum_crc32c="AAAAAA==")]]) as server:
                with pytest.raises(IntegrityError, match="CRC32C"):
                    read(store_of(server.endpoint, s3=CHECKED), "k", sink, lane=lane)
                server.assert_consumed()


@pytest.mark.parametrize(
    ("etag", "fields", "compared"),
    [
        ("0" * 32, {}, True),
        ("0" * 32 + "-2", {}, False),
        ("v1", {}, False),
        ("0" * 32, {"x_amz_server_side_encryption": "aws:kms"}, False),
        ("0" * 32, {"x_amz_server_side_encryption": "AES256"}, True),
        ("0" * 32, {"x_amz_server_side_encryption_customer_algorithm": "AES256"}, False),
    ],
)
def test_an_etag_that_is_an_md5_is_compared(lane: bool, etag: str, fields: dict[str, str], compared: bool) -> None:
    with ScriptedServer([[Expect(), whole(etag=f'"{etag}"', **fields)]]) as server:
        store = store_of(server.endpoint, s3=CHECKED)
        if compared:
            with pytest.raises(IntegrityError, match="MD5"):
                read(store, "k", MemorySink(), lane=lane)
        else:
            read(store, "k", MemorySink(), lane=lane)
        server.assert_consumed()


def test_the_right_md5(lane: bool, tmp_path: Path) -> None:
    etag = f'"{hashlib.md5(BODY, usedforsecurity=False).hexdigest()}"'
    with open(tmp_path / "f", "w+b") as file:
        for sink in (MemorySink(), FileSink(file.fileno())):
            with ScriptedServer([[Expect(), whole(etag=etag)]]) as server:
                read(store_of(server.endpoint, s3=CHECKED), "k", sink, lane=lane)
                server.assert_consumed()


def test_a_read_in_pieces_is_verified_as_a_whole(lane: bool, tmp_path: Path) -> None:
    last = len(TWO) - 1
    for crc, fits in ((crc32c.crc32c(TWO), True), (1, False)):
        first = whole(TWO, x_amz_checksum_crc32c=crc32c.to_base64(crc))
        with open(tmp_path / "f", "w+b") as file:
            for sink in (MemorySink(), FileSink(file.fileno())):
                for ranges, scripts in (
                    (SMALL_RANGES, [[Expect(), first], [asks(FIRST, LAST), part(FIRST, LAST, TWO)]]),
                    ({}, [[Expect(), cut(first, 5000), Close()], [asks(5000, last), part(5000, last, TWO)]]),
                ):
                    with ScriptedServer(scripts) as server:  # type: ignore[arg-type]
                        store = store_of(server.endpoint, s3=CHECKED, range=ranges)
                        if fits:
                            read(store, "k", sink, lane=lane)
                        else:
                            with pytest.raises(IntegrityError):
                                read(store, "k", sink, lane=lane)
                        server.assert_consumed()


MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("etag", "crc", "wrong"),
    [
        ("v1", crc32c.crc32c(BODY), None),
        ("v1", 1, "CRC32C"),
        ("v1", None, None),  # nothing was told, or a checksum of parts
        (MD5, None, None),
        ("0" * 32, None, "MD5"),
        ("0" * 32, crc32c.crc32c(BODY), None),  # the CRC32C tells more
    ],
)
def test_ranges_of_a_known_object_are_verified_as_a_whole(
    lane: bool, tmp_path: Path, etag: str, crc: int | None, wrong: str | None
) -> None:
    fields = [("ETag", f'"{etag}"'), ("x-amz-checksum-crc32c", "AAAAAA==")]  # of a range or part, not of the object

    class Ranges(ScriptedServer):
        def _perform(self, index: int, connection: Any, action: Any) -> None:
            if action is ANSWER:
                first, last = range_of(self.requests[index][-1])
                told = [*fields, ("Content-Range", f"bytes {first}-{last}/{len(BODY)}")]
                action = respond("206 Partial Content", body=BODY[first : last + 1], headers=told)
            super()._perform(index, connection, action)

    with open(tmp_path / "f", "w+b") as file:
        for sink in (MemorySink(), FileSink(file.fileno())):
            with Ranges([[Expect(lambda seen: "range" in seen.headers), ANSWER]] * 5) as server:
                store = store_of(server.endpoint, s3=CHECKED, range=SMALL_RANGES | {"concurrency": 8})
                store.remember("k", ObjectMetadata(size=len(BODY), etag=f'"{etag}"', crc32c=crc))
                if wrong is None:
                    read(store, "k", sink, lane=lane)
                    body = landed(sink)
                    assert body is not None
                    assert bytes(body.read(0, len(BODY))) == BODY
                else:
                    with pytest.raises(IntegrityError, match=wrong):
                        read(store, "k", sink, lane=lane)
                server.assert_consumed()


def test_a_read_of_a_known_object_tells_the_checksum_of_the_whole() -> None:
    crc = crc32c.crc32c(BODY)
    with Answering([[Expect(lambda seen: "range" in seen.headers), ANSWER]] * 5) as server:
        store = store_of(server.endpoint, s3=CHECKED, range=SMALL_RANGES | {"concurrency": 8})
        store.remember("k", ObjectMetadata(size=len(BODY), etag='"v1"', crc32c=crc))
        about = store.execute(store.read_call("k", MemorySink()))
        assert (about.size, about.crc32c) == (len(BODY), crc)


@pytest.mark.parametrize(
    ("told", "kind", "compared"),
    [("AAAAAA==", "FULL_OBJECT", True), ("AAAAAA==", "COMPOSITE", False), ("AAAAAA==-2", "COMPOSITE", False)],
)
def test_a_checksum_of_checksums_is_none_of_the_object(lane: bool, told: str, kind: str, compared: bool) -> None:
    answer = whole(x_amz_checksum_crc32c=told, x_amz_checksum_type=kind)
    with ScriptedServer([[Expect(b"HEAD"), answer, Close()], [Expect(b"GET"), answer]]) as server:
        store = store_of(server.endpoint, s3=CHECKED)
        assert (store.head("k").crc32c is not None) == compared
        if compared:
            with pytest.raises(IntegrityError):
                read(store, "k", MemorySink(), lane=lane)
        else:
            read(store, "k", MemorySink(), lane=lane)
        server.assert_consumed()


@pytest.mark.parametrize("told", ["not base64", "AAAA", "AAAAAAAAAAAAAAAA"])
def test_a_checksum_that_is_none(lane: bool, told: str) -> None:
    with ScriptedServer([[Expect(), whole(x_amz_checksum_crc32c=told)]]) as server:
        with pytest.raises(ProtocolError, match="CRC32C that is none"):
            read(store_of(server.endpoint, s3=CHECKED), "k", MemorySink(), lane=lane)
        server.assert_consumed()


def test_a_checksum_of_parts_is_not_compared(lane: bool) -> None:
    with ScriptedServer([[Expect(), whole(x_amz_checksum_crc32c="AAAAAA==-3")]]) as server:
        read(store_of(server.endpoint, s3=CHECKED), "k", MemorySink(), lane=lane)


# -- ranges that a server answers in its own way


@pytest.mark.parametrize("framing", ["length", "chunked", "until the end"])
@pytest.mark.parametrize("wanted", [3, 5, 10])
def test_a_whole_object_in_place_of_its_first_bytes(lane: bool, framing: str, wanted: int) -> None:
    data = b"hello"
    fields = {
        "length": b"Content-Length: 5\r\n\r\nhello",
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "until the end": b"\r\nhello",
    }
    answer = Send(b'HTTP/1.1 200 OK\r\nETag: "e"\r\n' + fields[framing])
    with ScriptedServer([[Expect(b"GET"), answer, Close()]]) as server:
        sink = MemorySink()
        read(store_of(server.endpoint), "k", sink, lane=lane, offset=0, length=wanted)
        assert bytes(sink.view()) == data[:wanted]


def test_a_whole_object_tells_its_size_though_less_was_asked_for() -> None:
    with ScriptedServer([[Expect(b"GET"), whole()]]) as server:
        sink = MemorySink()
        about = store_of(server.endpoint).execute(store_of(server.endpoint).read_call("k", sink, offset=0, length=9))
        assert (about.size, bytes(sink.view())) == (len(BODY), BODY[:9])


def test_a_whole_object_in_place_of_later_bytes_is_refused(lane: bool) -> None:
    with ScriptedServer([[Expect(b"GET"), whole()]]) as server, pytest.raises(ProtocolError, match="ignored the range"):
        read(store_of(server.endpoint), "k", MemorySink(), lane=lane, offset=1, length=9)


def wants(wanted: str) -> Callable[[ReceivedRequest], bool]:
    return lambda seen: seen.headers.get("range") == wanted


LONG = bytes(range(256)) * 300  # more than comes with a head


@pytest.mark.parametrize("framing", ["length", "chunked", "until the end"])
@pytest.mark.parametrize("wanted", [3, 70_000, 100_000])
def test_a_whole_object_in_place_of_its_last_bytes(framing: str, wanted: int) -> None:
    fields = {
        "length": b"Content-Length: 76800\r\n\r\n" + LONG,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n12c00\r\n" + LONG + b"\r\n0\r\n\r\n",
        "until the end": b"\r\n" + LONG,
    }
    answer = Send(b'HTTP/1.1 200 OK\r\nETag: "e"\r\n' + fields[framing])
    size = [Expect(b"HEAD"), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 76800\r\n\r\n")]
    rounds = [[Expect(wants(f"bytes=-{wanted}")), answer, Close()]]
    with ScriptedServer(rounds + ([size] if framing == "until the end" else [])) as server:
        store, sink = store_of(server.endpoint), MemorySink()
        about = store.execute(store.tail_call("k", sink, wanted))
        assert bytes(sink.view()) == LONG[-wanted:]
        assert about.size == len(LONG)
        server.assert_consumed()


def test_last_bytes_go_on_where_their_answer_broke_off() -> None:
    fields = b'ETag: "e"\r\nContent-Range: bytes 66800-76799/76800\r\nContent-Length: 10000\r\n\r\n'
    first = [Expect(wants("bytes=-10000")), Send(b"HTTP/1.1 206 P\r\n" + fields + LONG[66800:70000]), Close()]
    rest = b'ETag: "e"\r\nContent-Range: bytes 70000-76799/76800\r\nContent-Length: 6800\r\n\r\n'
    second = [Expect(wants("bytes=70000-76799")), Send(b"HTTP/1.1 206 P\r\n" + rest + LONG[70000:])]
    with ScriptedServer([first, second]) as server:
        store, sink = store_of(server.endpoint), MemorySink()
        about = store.execute(store.tail_call("k", sink, 10_000))
        assert (bytes(sink.view()), about.size) == (LONG[-10_000:], 76800)
        server.assert_consumed()


@pytest.mark.parametrize("told", [b"0-9/100", b"85-99/100", b"95-99/100", b"90-98/100"])
def test_other_bytes_than_the_last_are_refused(told: bytes) -> None:
    first, last = map(int, told.partition(b"/")[0].split(b"-"))
    head = b"HTTP/1.1 206 P\r\nContent-Range: bytes %b\r\nContent-Length: %d\r\n\r\n" % (told, last - first + 1)
    with ScriptedServer([[Expect(b"GET"), Send(head + bytes(last - first + 1))]] * 3) as server:
        store = store_of(server.endpoint)
        with pytest.raises(ProtocolError):
            store.execute(store.tail_call("k", MemorySink(), 10))


def test_a_range_in_chunks_stops_at_the_first_byte_too_many(lane: bool) -> None:
    head = b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/100\r\nTransfer-Encoding: chunked\r\n\r\n"
    endless = Send(head + b"5\r\nhello\r\n6\r\n world\r\n")  # it never says that this was all
    with ScriptedServer([[Expect(b"GET"), endless, ExpectClose()]]) as server:
        with pytest.raises(ProtocolError, match="longer than its range"):
            read(store_of(server.endpoint), "k", MemorySink(), lane=lane, offset=0, length=10)
        server.assert_consumed()


SIZE_IN_A_FIELD = respond("416 Range", headers=[("Content-Range", "bytes */100")])
SIZE_IN_THE_DOCUMENT = error("416 Range", "InvalidRange", ActualObjectSize="100")
NO_SIZE = respond("416 Range")


@pytest.mark.parametrize("answer", [SIZE_IN_A_FIELD, SIZE_IN_THE_DOCUMENT, NO_SIZE])
def test_a_range_is_empty_only_beyond_the_end(lane: bool, answer: Send) -> None:
    head = [Expect(b"HEAD"), Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")] if answer is NO_SIZE else []
    with ScriptedServer([[Expect(b"GET"), answer, *head] * 2]) as server:
        store = store_of(server.endpoint)
        sink = MemorySink()
        read(store, "k", sink, lane=lane, offset=100, length=5)
        assert bytes(sink.view()) == b""
        with pytest.raises(ProtocolError, match="though the object has 100 bytes"):
            read(store, "k", MemorySink(), lane=lane, offset=99, length=5)
        server.assert_consumed()


@pytest.mark.parametrize("size", [5, 9])
def test_a_body_without_a_length_is_compared_with_the_size_of_the_object(lane: bool, size: int) -> None:
    """Nothing but the end of the connection ends it, which may have broken."""
    head = Send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
    with ScriptedServer(
        [[Expect(b"GET"), Send(b"HTTP/1.1 200 OK\r\n\r\nhello"), Close()], [Expect(b"HEAD"), head]]
    ) as server:
        sink = MemorySink()
        if size == 5:
            read(store_of(server.endpoint), "k", sink, lane=lane)
            assert bytes(sink.view()) == b"hello"
        else:
            with pytest.raises(IntegrityError, match="5 bytes of 9"):
                read(store_of(server.endpoint), "k", sink, lane=lane)
        server.assert_consumed()
