"""Parts are as large as the measured latency and rate of a service want them."""

from __future__ import annotations

from typing import Any

import pytest

from s3dlio.config.settings import Settings
from s3dlio.memory.sources import Source
from s3dlio.net import system
from s3dlio.net.response import Response
from s3dlio.stores.cloud.part_size import Measured, effective_part_size
from s3dlio.stores.s3 import multipart
from s3dlio.types import PutOptions
from tests.wire.s3_harness import store_of

MIB = 1 << 20
MOST = 10_000


def measured(latency: float, rate: float) -> Measured:
    found = Measured()
    found.latency, found.rate = latency, rate
    return found


@pytest.mark.parametrize(
    ("latency", "rate", "size", "expected"),
    [
        (0.0005, 1e9, 4096 * MIB, 16 * MIB),  # near: as set
        (0.050, 50e6, 4096 * MIB, 19 * MIB),  # far, and slow
        (0.050, 500e6, 4096 * MIB, 128 * MIB),  # far, and quick
        (0.050, 500e6, 400 * MIB, 50 * MIB),  # but eight parts are in flight
        (0.050, 500e6, 64 * MIB, 16 * MIB),
    ],
)
def test_parts_are_large_where_answers_take_long(latency: float, rate: float, size: int, expected: int) -> None:
    assert effective_part_size(size, Settings.resolve({}), MOST, measured(latency, rate)) == expected


def test_a_size_that_was_set_stays() -> None:
    settings = Settings.resolve({}, multipart={"part_size": 8 * MIB})
    assert effective_part_size(4096 * MIB, settings, MOST, measured(0.05, 5e8)) == 8 * MIB


def test_what_nobody_has_measured_is_as_set_and_never_too_many() -> None:
    settings = Settings.resolve({})
    assert effective_part_size(4096 * MIB, settings, MOST, Measured()) == 16 * MIB
    assert effective_part_size(5 << 40, settings, MOST, Measured()) == 525 * MIB


class Zeros(Source):
    """So many zeros, of which there are none in memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, start: int, length: int) -> memoryview:
        return memoryview(bytes(min(length, self.size - start)))

    def part(self, start: int, length: int) -> Source:
        return Zeros(length)


def test_the_second_upload_has_parts_by_what_the_first_has_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service 40 ms away, to which a connection sends 400 MB/s."""
    now = [100.0]
    monkeypatch.setattr(system, "monotonic", lambda: now[0])
    service = store_of("http://127.0.0.1:9").service
    monkeypatch.setattr(type(service), "sends_checksums", False)

    def answer(body: bytes = b"", etag: bytes = b'"0123456789abcdef0123456789abcdef"') -> Response:
        head = b"HTTP/1.1 200 OK\r\netag: " + etag + b"\r\n"
        response = Response(200, head, head.lower())
        response.body = bytearray(body)
        return response

    def upload() -> list[int]:
        """Sizes of the parts of 1 GiB."""
        steps = multipart.write(service, "k", Zeros(1024 * MIB), PutOptions())
        next(steps)
        now[0] += 0.040
        wanted: Any = steps.send(answer(b"<R><UploadId>u</UploadId></R>"))
        sizes, answers = [], []
        for request in wanted:
            sizes.append(request.body.size)
            now[0] += 0.040 + request.body.size / 400e6
            answers.append(answer())
            request.check(answers[-1])
        steps.send(answers)
        with pytest.raises(StopIteration):
            steps.send(answer(b'<R><ETag>"e"</ETag></R>'))
        return sizes

    first, second = upload(), upload()
    assert first == [16 * MIB] * 64
    assert second == [122 * MIB] * 8 + [48 * MIB]
