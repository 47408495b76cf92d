"""What is computed here in the plainest way, to compare the quick ways with; and what a batch reports."""

from __future__ import annotations

from typing import Any


def crc32c_by_definition(data: bytes) -> int:
    """CRC32C bit by bit (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Outcomes:
    """Keeps what is reported of each call of a batch, and that it is reported once."""

    def __init__(self) -> None:
        self.results: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}

    def done(self, index: int, result: Any, error: BaseException | None) -> None:
        assert index not in self.results
        assert index not in self.errors
        if error is None:
            self.results[index] = result
        else:
            self.errors[index] = error
