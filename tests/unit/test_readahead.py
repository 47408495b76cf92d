"""Which stretches of an object are asked for, and when, by who reads it as a file."""

from __future__ import annotations

import io
import os
import random
from concurrent.futures import Future

import pytest

from s3dlio.errors import NetworkError
from s3dlio.streams.object_reader import ObjectReader
from s3dlio.streams.one_version import FIRST, VersionAhead
from s3dlio.types import ObjectMetadata

SIZE = 40 << 20
CONTENT = random.Random(3).randbytes(1 << 20) * (SIZE >> 20)


class _Recorded(VersionAhead):
    """An object in memory that keeps what was asked for; what reads ahead ends when it is waited for."""

    reads_ahead = True

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.first = memoryview(CONTENT)[: min(size, FIRST)]
        self.direct: list[tuple[int, int]] = []
        self.ahead: list[tuple[int, int]] = []
        self.given_up = 0
        self.failing = False

    def read_into(self, offset: int, view: memoryview) -> None:
        assert 0 <= offset < offset + len(view) <= self.size
        if self.failing:
            raise NetworkError("planted")
        self.direct.append((offset, len(view)))
        view[:] = CONTENT[offset : offset + len(view)]

    def start(self, offset: int, view: memoryview) -> Future[ObjectMetadata]:
        assert 0 <= offset < offset + len(view) <= self.size
        self.ahead.append((offset, len(view)))
        return _Started(self, offset, view)

    def finish(self, started: Future[ObjectMetadata]) -> None:
        assert isinstance(started, _Started)
        if self.failing:
            raise NetworkError("planted")
        started.view[:] = CONTENT[started.offset : started.offset + len(started.view)]

    @property
    def fetched(self) -> int:
        return len(self.first) + sum(length for _, length in self.direct + self.ahead)


class _Started(Future[ObjectMetadata]):
    def __init__(self, version: _Recorded, offset: int, view: memoryview) -> None:
        super().__init__()
        self.version, self.offset, self.view = version, offset, view

    def cancel(self) -> bool:
        self.version.given_up += 1
        return True


@pytest.fixture
def version() -> _Recorded:
    return _Recorded()


@pytest.fixture
def raw(version: _Recorded) -> ObjectReader:
    return ObjectReader(version, "memory://test/object")


def _read(raw: ObjectReader, length: int) -> bytes:
    start, buffer = raw.tell(), bytearray(length)
    count = raw.readinto(buffer)
    assert buffer[:count] == CONTENT[start : start + count]
    return bytes(buffer[:count])


def test_a_small_object_came_when_it_was_opened() -> None:
    version = _Recorded(100_000)
    with io.BufferedReader(ObjectReader(version, "memory://test/small")) as file:
        assert file.read() == CONTENT[:100_000]
        file.seek(-50, os.SEEK_END)
        assert file.read(10) == CONTENT[99_950:99_960]
        file.seek(0)
        assert file.read(10) == CONTENT[:10]
    assert version.direct == version.ahead == []


def test_reads_in_a_row_are_read_ahead_of_and_fetch_every_byte_once(raw: ObjectReader, version: _Recorded) -> None:
    while _read(raw, 300_000):
        behind = max((offset + length for offset, length in version.ahead), default=0)
        assert behind - raw.tell() <= max(2 << 20, 2 * raw.tell())  # so much at most is fetched for nothing
    assert version.direct == []
    assert version.fetched == SIZE
    assert version.given_up == 0
    assert 4 << 20 < max(length for _, length in version.ahead) <= 8 << 20


def test_the_first_read_asks_for_nothing_more_than_it_needs(raw: ObjectReader, version: _Recorded) -> None:
    raw.seek(10 << 20)
    _read(raw, 5000)
    assert (version.direct, version.ahead) == ([(10 << 20, 5000)], [])


def test_a_jump_gives_up_what_is_read_ahead(raw: ObjectReader, version: _Recorded) -> None:
    for _ in range(4):
        _read(raw, 1 << 20)
    coming = len(version.ahead)
    taken = sum(1 for offset, length in version.ahead if offset < raw.tell())
    raw.seek(30 << 20)
    _read(raw, 1000)
    assert coming > taken
    assert version.given_up == coming - taken
    assert len(version.ahead) == coming
    assert version.direct[1:] == [(30 << 20, 1000)]


def test_padding_that_is_left_out_is_no_jump(raw: ObjectReader, version: _Recorded) -> None:
    raw.seek(5 << 20)
    for _ in range(20):
        _read(raw, 500_000)
        raw.seek(64, os.SEEK_CUR)
    assert len(version.direct) == 2  # the first two, and then what was read ahead
    assert version.given_up == 0


def test_the_end_is_read_once_however_often_a_reader_comes(raw: ObjectReader, version: _Recorded) -> None:
    for back in (22, 4096, 100_000, 42):
        raw.seek(-back, os.SEEK_END)
        _read(raw, 10)
    raw.seek(0)
    _read(raw, 1000)  # the beginning is at hand as well
    assert version.direct == [(SIZE - (256 << 10), 256 << 10)]


def test_a_large_read_goes_straight_to_its_place_and_the_next_ones_bytes_are_asked_for_with_it(
    raw: ObjectReader, version: _Recorded
) -> None:
    raw.seek(2 << 20)
    _read(raw, 4 << 20)
    _read(raw, 4 << 20)
    assert version.direct == [(2 << 20, 4 << 20), (6 << 20, 4 << 20)]
    assert version.ahead[0][0] == 10 << 20
    _read(raw, 4 << 20)
    assert len(version.direct) == 2


def test_a_read_that_fails_can_be_tried_again(raw: ObjectReader, version: _Recorded) -> None:
    for _ in range(5):
        _read(raw, 1 << 20)
    for length in (100, 20 << 20):
        version.failing = True
        position, buffer = raw.tell(), bytearray(length)
        with pytest.raises(NetworkError) as caught:
            raw.readinto(buffer)
        buffer.append(0)  # nothing exports it, though the error is kept
        assert (raw.tell(), caught.value.reason) == (position, "planted")
        version.failing = False
        _read(raw, length)


def test_a_forked_child_reads_on_by_itself(
    raw: ObjectReader, version: _Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        _read(raw, 1 << 20)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    _read(raw, 1 << 20)
    assert version.given_up == 0  # what is on its way is the parent's
    assert version.direct[1:] == [(4 << 20, 1 << 20)]


def test_the_thread_of_a_lane_waits_for_no_lane(
    raw: ObjectReader, version: _Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        _read(raw, 1 << 20)
    coming, direct = len(version.ahead), len(version.direct)
    monkeypatch.setattr("s3dlio.engine.lanes.on_lane", lambda: True)
    _read(raw, 1 << 20)
    assert len(version.ahead) == coming
    assert version.direct[direct:] == [(3 << 20, 1 << 20)]


def test_what_is_closed_is_read_no_more(raw: ObjectReader, version: _Recorded) -> None:
    for _ in range(4):
        _read(raw, 1 << 20)
    raw.close()
    assert version.given_up > 0
    for refused in (raw.tell, lambda: raw.seek(0), raw.readable, lambda: raw.readinto(bytearray(1)), raw.readall):
        with pytest.raises(ValueError, match="closed file"):
            refused()
    raw.close()


def test_seeks_that_cannot_be_are_refused(raw: ObjectReader) -> None:
    for offset, whence in ((-1, os.SEEK_SET), (-SIZE - 1, os.SEEK_END), (1 << 63, os.SEEK_SET), (0, 7)):
        with pytest.raises(ValueError):  # noqa: PT011 - of either kind
            raw.seek(offset, whence)
    assert raw.tell() == 0
    with pytest.raises(BufferError):
        raw.readinto(b"read-only")  # type: ignore[arg-type]
