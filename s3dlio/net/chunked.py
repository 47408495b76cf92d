"""The chunked transfer coding (RFC 9112, section 7.1)."""

from __future__ import annotations

from s3dlio.errors import ProtocolError

#: Chunk-size lines and trailers longer than this are refused.
MAX_LINE = 16 * 1024
#: The extensions of all chunks and the trailers of a body are no larger than this together: a server that sends
#: nothing else would never end.
MAX_EXTRA = 64 * 1024


class ChunkReader:
    """The chunked transfer coding (RFC 9112, section 7.1), fed with whatever arrives."""

    __slots__ = ("_beside", "_left", "_line", "_state", "done", "extra")

    _SIZE, _DATA, _DATA_END, _TRAILER = range(4)

    def __init__(self) -> None:
        self.done = False
        #: Bytes came after the end.
        self.extra = False
        self._state = self._SIZE
        self._left = 0
        self._line = bytearray()
        self._beside = 0  # bytes of extensions and trailers

    def feed(self, data: memoryview) -> list[memoryview]:
        """The stretches of body within ``data``."""
        pieces: list[memoryview] = []
        at = 0
        while at < len(data):
            if self.done:
                self.extra = True
                break
            if self._state == self._DATA:
                taken = min(self._left, len(data) - at)
                pieces.append(data[at : at + taken])
                at += taken
                self._left -= taken
                if self._left == 0:
                    self._state = self._DATA_END
            else:
                at = self._take_line(data, at)
        return pieces

    def _take_line(self, data: memoryview, at: int) -> int:
        window = bytes(data[at : at + MAX_LINE])
        end = window.find(b"\n")
        self._line += window if end < 0 else window[: end + 1]
        if len(self._line) > MAX_LINE:
            raise ProtocolError("a chunk line is too long")
        if end < 0:
            return at + len(window)
        if not self._line.endswith(b"\r\n"):
            raise ProtocolError("a chunk line does not end in CRLF")
        line = bytes(self._line[:-2])
        self._line.clear()
        self._on_line(line)
        return at + end + 1

    def _on_line(self, line: bytes) -> None:
        if self._state == self._DATA_END:
            if line:
                raise ProtocolError("a chunk is longer than its size")
            self._state = self._SIZE
        elif self._state == self._TRAILER:
            self.done = not line
            self._count(len(line))
        else:
            digits, _, extension = line.partition(b";")
            if extension:
                self._count(len(extension))
            size = digits.strip(b" \t")
            if not size or len(size) > 16 or not all(c in b"0123456789abcdefABCDEF" for c in size):
                raise ProtocolError(f"bad chunk size {line[:32]!r}")
            self._left = int(size, 16)
            self._state = self._DATA if self._left else self._TRAILER

    def _count(self, size: int) -> None:
        self._beside += size
        if self._beside > MAX_EXTRA:
            raise ProtocolError(f"the chunk extensions and trailers of the answer are larger than {MAX_EXTRA} bytes")
