"""numpy arrays as objects: ``save_numpy_array`` and ``load_numpy_array`` of older releases of the Rust package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from s3dlio import api
from s3dlio.datagen.checks import fits_in_memory
from s3dlio.errors import ConfigError, CorruptDataError, IntegrityError, S3dlioError
from s3dlio.formats import build_npy, read_npy_bytes
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.view import BytesView
from s3dlio.uri import URI

if TYPE_CHECKING:
    import numpy.typing as npt

_NPY, _ZSTD = b"\x93NUMPY", b"\x28\xb5\x2f\xfd"


def save_numpy_array(uri: URI, array: Any, compress: bool = False, validate: bool = False) -> str:
    """Write an array as an NPY object.

    Args:
        uri: where to.
        array: anything that ``numpy.asarray`` takes, but no objects.
        compress: with zstd; ``load_numpy_array`` sees it.
        validate: read the object again and compare.

    Returns:
        The checksum of the array's bytes as stored before compression, ``crc32c:`` and eight digits.

    Raises:
        ConfigError: the array holds Python objects.
        IntegrityError: the store gives other bytes than were written.
    """
    plain = build_npy(array)
    stored: Any = plain
    if compress:
        import zstandard

        stored = zstandard.ZstdCompressor().compress(plain)
    api.put_bytes(uri, stored)
    if validate and api.get(uri) != stored:
        raise IntegrityError("the store gives other bytes than were written", uri=str(uri), operation="PUT")
    return _checksum(plain)


def load_numpy_array(
    uri: URI, shape: Sequence[int] | None = None, dtype: Any = None, validate_checksum: str | None = None
) -> npt.NDArray[Any]:
    """Read an array: an NPY object, compressed or not, or the bare bytes of an array.

    Args:
        uri: which object.
        shape, dtype: what the array must be; of bare bytes, what it is (``dtype`` is float32 then without one).
        validate_checksum: what ``save_numpy_array`` returned.

    Raises:
        IntegrityError: the checksum differs.
        ConfigError: the array has another shape or type; or bare bytes, and no shape is given.
        CorruptDataError: the object is damaged.
    """
    try:
        return _array(api.get(uri), uri, shape, dtype, validate_checksum)
    except S3dlioError as error:
        error.locate(str(uri), "GET")
        raise


def _array(
    stored: BytesView, uri: URI, shape: Sequence[int] | None, dtype: Any, validate_checksum: str | None
) -> npt.NDArray[Any]:
    import numpy as np

    data = _plain(stored, str(uri))
    if validate_checksum is not None and _checksum(data) != validate_checksum:
        raise IntegrityError(f"the checksum is {_checksum(data)}, not {validate_checksum}", uri=str(uri))
    if not data.startswith(_NPY):
        if shape is None:
            raise ConfigError("the object is no NPY file", uri=str(uri), hint="give shape= and dtype= for bare bytes")
        return _reshaped(np.frombuffer(data, np.dtype(dtype or "f4")), shape, str(uri))
    array = read_npy_bytes(data)
    if dtype is not None and array.dtype != np.dtype(dtype):
        raise ConfigError(f"the array is of type {array.dtype}, not {np.dtype(dtype)}", uri=str(uri))
    return array if shape is None else _reshaped(array, shape, str(uri))


def _reshaped(array: npt.NDArray[Any], shape: Sequence[int], uri: str) -> npt.NDArray[Any]:
    try:
        return array.reshape(tuple(shape))
    except ValueError as error:
        raise ConfigError(str(error), uri=uri) from error


def _plain(data: BytesView, uri: str) -> BytesView:
    if not data.startswith(_ZSTD):
        return data
    import zstandard

    try:
        fits_in_memory(zstandard.frame_content_size(data))
        return BytesView(zstandard.ZstdDecompressor().decompress(data))
    except zstandard.ZstdError as error:
        raise CorruptDataError(f"the compressed array is damaged: {error}", uri=uri) from error


def _checksum(data: BytesView) -> str:
    return f"crc32c:{crc32c(data.memoryview()):08x}"


#: Under the names of older documents.
save_array = save_numpy_array
load_array = load_numpy_array
