"""CRC32C: computed without a copy and without the GIL, continued, combined, written and read.

CRC32C is the Castagnoli polynomial, reflected, with initial value and final xor of all ones (RFC 3720, section 12.1;
check value of b"123456789": e3069283). It is written as ``crc32c:%08x`` in manifests, and as the base64 of its four
big-endian bytes in the headers of S3 (``x-amz-checksum-crc32c``) and GCS (``x-goog-hash``).
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import functools
from collections.abc import Callable

from s3dlio.errors import ConfigError, IntegrityError
from s3dlio.memory.buffers import address_of, byte_view
from s3dlio.types import Payload

#: Bytes that are hashed at a time where they have just been copied, or will be right after: the cache of the CPU has
#: them. Of 256 KiB there it computes 20 GiB/s, of 1 MiB 5.
HOT = 256 << 10

_PREFIX = "crc32c:"
_MASK = 0xFFFFFFFF
_POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41 with its bits reversed

# Up to here copying and calling google_crc32c (0.4 us for 4 KiB, 3.9 us for 64 KiB) is cheaper than finding the
# address and calling through ctypes (1.4 us, 3.7 us), and the GIL is held for microseconds only.
_SMALL = 32 << 10


def crc32c(data: Payload, crc: int = 0) -> int:
    """The CRC32C of `data`, or of all that led to `crc` followed by `data`.

    Large data is neither copied nor hashed under the GIL: threads that hash run side by side.

    Args:
        data: any contiguous bytes-like object.
        crc: what the call for the bytes before returned.
    """
    view = byte_view(data)
    if len(view) <= _SMALL:
        return _small()(crc, bytes(view))
    return _large()(crc, view)


@functools.cache
def _small() -> Callable[[int, bytes], int]:
    import google_crc32c

    extend: Callable[[int, bytes], int] = google_crc32c.extend
    return extend


@functools.cache
def _large() -> Callable[[int, memoryview], int]:
    """google_crc32c takes `bytes` only. The C library in its wheel takes an address, and ctypes lets the GIL go."""
    native = _native_extend()
    if native is None:
        extend = _small()
        return lambda crc, view: extend(crc, bytes(view))

    def through_ctypes(crc: int, view: memoryview) -> int:
        return native(crc, address_of(view), len(view))  # `view` keeps the memory for the time of the call

    return through_ctypes


def _native_extend() -> Callable[[int, int, int], int] | None:
    """``uint32_t crc32c_extend(uint32_t, const uint8_t *, size_t)``, or None where only the Python call can be had."""
    try:
        from google_crc32c import _crc32c

        # A symbol is looked for in the libraries that a library needs as well, wherever the wheel keeps them; on
        # Windows it is not, but there the library is loaded by now and known by its name.
        for name in (_crc32c.__file__, "crc32c.dll"):
            extend = getattr(ctypes.CDLL(name), "crc32c_extend", None)
            if extend is not None:
                extend.argtypes = (ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t)
                extend.restype = ctypes.c_uint32
                return extend  # type: ignore[no-any-return]
    except (ImportError, OSError):
        pass  # google_crc32c without its extension, or linked statically: the plain call gives the same results
    return None


def has_native() -> bool:
    """Whether large data is hashed where it lies, without the GIL."""
    return _native_extend() is not None


def combine(crc1: int, crc2: int, len2: int) -> int:
    """The CRC32C of A + B from those of A and B and the length of B in bytes; the bytes are not needed.

    Appending a zero byte to A is a linear map of its checksum's 32 bits; so is appending 2**k of them, and the maps for
    every k are kept. (The method is zlib's crc32_combine, by Mark Adler.)
    """
    if len2 < 0:
        raise ConfigError(f"len2 must be 0 or more bytes, got {len2}")
    if not crc1:  # as of an empty A
        return crc2
    power = 0
    while len2:
        if len2 & 1:
            crc1 = _times(_zeros(power), crc1)
        len2 >>= 1
        power += 1
    return crc1 ^ crc2


@functools.cache
def _zeros(power: int) -> tuple[int, ...]:
    """The map that appends 2**power zero bytes: what it makes of each bit of a checksum, lowest bit first."""
    if power > 0:
        half = _zeros(power - 1)
        return tuple(_times(half, image) for image in half)
    images = []
    for bit in range(32):
        image = 1 << bit
        for _ in range(8):
            image = image >> 1 ^ (_POLYNOMIAL if image & 1 else 0)
        images.append(image)
    return tuple(images)


def _times(images: tuple[int, ...], vector: int) -> int:
    result = 0
    while vector:
        low = vector & -vector
        result ^= images[low.bit_length() - 1]
        vector ^= low
    return result


def format_crc32c(crc: int) -> str:
    """``crc32c:xxxxxxxx``, eight lower-case hexadecimal digits."""
    return f"{_PREFIX}{crc & _MASK:08x}"


def to_base64(crc: int) -> str:
    """The value of a cloud's header: base64 of the four bytes, big-endian."""
    return base64.b64encode((crc & _MASK).to_bytes(4, "big")).decode("ascii")


def from_base64(text: str) -> int:
    """The checksum in a cloud's header.

    Raises:
        IntegrityError: `text` is not the base64 of four bytes.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise IntegrityError(f"cannot read the checksum {text!r}: it is not base64") from exc
    if len(raw) != 4:
        raise IntegrityError(f"cannot read the checksum {text!r}: it is of {len(raw)} bytes, not of 4")
    return int.from_bytes(raw, "big")
