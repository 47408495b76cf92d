"""CRC32C: known values, every kind of input, the way around google_crc32c, and the written forms."""

from __future__ import annotations

import sys
from _ctypes import FUNCFLAG_PYTHONAPI
from typing import Any

import numpy as np
import pytest

from s3dlio.errors import IntegrityError
from s3dlio.memory import crc32c as module
from s3dlio.memory.crc32c import combine, crc32c, format_crc32c, from_base64, to_base64
from s3dlio.memory.view import BytesView

LARGE = bytes(range(256)) * 1024  # beyond the size up to which data is copied


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # the rest: RFC 3720, appendix B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_known_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.parametrize("data", [b"some bytes", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, BytesView, lambda b: np.frombuffer(b, np.uint8)])
def test_kinds_of_input_agree(data: bytes, kind: type) -> None:
    import google_crc32c

    assert crc32c(kind(data)) == google_crc32c.value(data)


def test_any_number_type_counts_as_its_bytes() -> None:
    array = np.arange(60_000, dtype=np.float32).reshape(200, 300)
    assert crc32c(array) == crc32c(array.tobytes())
    assert crc32c(np.zeros((0, 3))) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="where the wheel keeps its library is known for Linux")
def test_the_library_of_the_wheel_is_found() -> None:
    assert module._native_extend() is not None


def test_without_the_library_results_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = crc32c(memoryview(LARGE), 7)
    monkeypatch.setattr(module, "_native_extend", lambda: None)
    module._large.cache_clear()
    try:
        assert crc32c(memoryview(LARGE), 7) == expected
    finally:
        module._large.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="where the wheel keeps its library is known for Linux")
def test_the_library_is_called_without_the_gil() -> None:
    native: Any = module._native_extend()
    assert not native._flags_ & FUNCFLAG_PYTHONAPI  # the one mark of the functions that ctypes calls under the GIL


def test_combine_of_absurd_lengths() -> None:
    assert combine(5, 0, 0) == 5
    assert combine(crc32c(b"a"), 0, 1 << 80) == combine(combine(crc32c(b"a"), 0, 1 << 79), 0, 1 << 79)
    with pytest.raises(ValueError, match="len2 must be 0 or more"):
        combine(1, 2, -1)


def test_written_forms() -> None:
    assert format_crc32c(0xAB) == "crc32c:000000ab"
    assert to_base64(0x01020304) == "AQIDBA=="
    assert from_base64("AQIDBA==") == 0x01020304


@pytest.mark.parametrize("text", ["", "AQID", "AQIDBAU=", "not base64", "ünïcode"])
def test_unreadable_base64(text: str) -> None:
    with pytest.raises(IntegrityError, match="cannot read the checksum"):
        from_base64(text)


@pytest.mark.parametrize(
    ("data", "error"),
    [("text", TypeError), (5, TypeError), (np.array([object()]), TypeError), (np.zeros((4, 4))[:, 1], BufferError)],
)
def test_wrong_input(data: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        crc32c(data)
