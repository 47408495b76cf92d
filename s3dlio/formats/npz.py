"""NPY and NPZ: numpy's files of one array and of several (numpy/lib/_format_impl.py, NEP 1)."""

from __future__ import annotations

import bz2
import io
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

from s3dlio.datagen.checks import fits_in_memory, whole_number
from s3dlio.datagen.source import DataSource
from s3dlio.errors import ConfigError
from s3dlio.formats.corruption import as_corruption
from s3dlio.formats.stored_zip import StoredZip
from s3dlio.memory import BytesView, default_pool
from s3dlio.memory.buffers import byte_view
from s3dlio.memory.positioned_file import PositionedFile
from s3dlio.types import Payload

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


#: What a method packs into one byte at best; deflate: 258 bytes in two bits (RFC 1951). The others know no bound (a
#: kilobyte of bzip2 holds a gigabyte of zeros), so they get that of deflate, or so many bytes in any case.
_BEST_RATIO = {zipfile.ZIP_STORED: 1}
_DEFLATE_RATIO = 1032
_ALWAYS_UNPACKED = 64 << 20


def npy_header(shape: Sequence[int], dtype: Any = "|u1", *, fortran_order: bool = False) -> bytes:
    """The header of an array in NPY form: version 1.0 where it fits, padded to 64 bytes."""
    import numpy as np

    out = io.BytesIO()
    description = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(
        out, {"descr": description, "fortran_order": fortran_order, "shape": tuple(shape)}
    )
    return out.getvalue()


def build_npy(array: Any) -> BytesView:
    """The NPY file of an array (anything that `numpy.asarray` takes, but no objects).

    Raises:
        ConfigError: the array holds Python objects.
    """
    header, body = _npy_parts("array", array)
    buffer = default_pool().lease(len(header) + len(body))
    buffer[: len(header)] = header
    buffer[len(header) :] = body
    return BytesView(buffer)


def build_multi_npz(arrays: Iterable[tuple[str, Any]]) -> BytesView:
    """An uncompressed NPZ archive of several arrays, as `numpy.savez` makes it.

    Args:
        arrays: (name, array) of each, in order; anything that `numpy.asarray` takes.

    Raises:
        ConfigError: two arrays have one name, a name is empty, or an array holds Python objects.
    """
    named = list(arrays)
    names = [name for name, _ in named]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ConfigError(f"the names of the arrays must be distinct, non-empty strings, got {names!r}")
    parts = [_npy_parts(name, array) for name, array in named]
    plan = StoredZip([(f"{name}.npy", len(head) + len(body)) for name, (head, body) in zip(names, parts, strict=True)])
    buffer = default_pool().lease(plan.size)
    for start, (head, body) in zip(plan.data_offsets, parts, strict=True):
        buffer[start : start + len(head)] = head
        buffer[start + len(head) : start + len(head) + len(body)] = body
    return _finish(plan, buffer)


def generate_npz_bytes(shape: Sequence[int], dtype: str = "<f4", num_samples: int = 1) -> BytesView:
    """An NPZ archive of a sample and its labels, as DLIO's NPZ data sets have them.

    Args:
        shape: the shape of the array `x`, whose bytes are random.
        dtype: its numpy type: bool, an integer, float or complex type.
        num_samples: the length of the array `y`, int64 zeros.

    Raises:
        ConfigError: the type is unknown or no number type, a dimension is negative, or memory is too small for it.
    """
    kind = _number_type(dtype)
    dimensions = [whole_number("a dimension of shape", n) for n in shape]
    x_head, y_head = npy_header(dimensions, kind), npy_header([whole_number("num_samples", num_samples)], "<i8")
    x_bytes, y_bytes = math.prod(dimensions) * kind.itemsize, 8 * num_samples
    fits_in_memory(x_bytes + y_bytes)
    plan = StoredZip([("x.npy", len(x_head) + x_bytes), ("y.npy", len(y_head) + y_bytes)])
    buffer = default_pool().lease(plan.size)
    x_at, y_at = plan.data_offsets
    buffer[x_at : x_at + len(x_head)] = x_head
    x = buffer[x_at + len(x_head) :][:x_bytes]
    DataSource(x_bytes).fill(x, threads=None)
    if kind.kind == "b":
        _to_booleans(x)
    buffer[y_at : y_at + len(y_head)] = y_head
    buffer[y_at + len(y_head) :][:y_bytes] = bytes(y_bytes)
    return _finish(plan, buffer)


def read_npy_bytes(data: Payload) -> npt.NDArray[Any]:
    """The array of an NPY file in memory, in memory of its own.

    Raises:
        CorruptDataError: this is no NPY file, it is damaged, or it holds Python objects, which are never unpickled.
    """
    import numpy as np

    view = byte_view(data)
    with as_corruption("this is not an NPY file"):
        size = _promised_size(ViewFile(view))
        if size is not None and size != len(view):
            raise ValueError(f"its header describes {size} bytes, and there are {len(view)}")
        array: npt.NDArray[Any] = np.lib.format.read_array(ViewFile(view), allow_pickle=False)
    return array


def read_npz_bytes(data: Payload, array_name: str | None = None) -> npt.NDArray[Any]:
    """One array of an NPZ archive in memory: any dtype and order, stored or compressed, checksum verified.

    No more is unpacked than the archive says that there is, and it is refused where it says more than 1032 times the
    compressed size (what deflate can do at best), or 64 MiB in bzip2 and LZMA, whichever is more.

    Args:
        data: the archive, bytes-like.
        array_name: which array, with or without `.npy`; default: the first.

    Returns:
        An array of its own memory, writable.

    Raises:
        CorruptDataError: this is no NPZ archive, or it is damaged, or the array holds Python objects, which are never
            unpickled.
        ConfigError: there is no such array; the message lists those there are.
    """
    import numpy as np

    with _Archive(data) as archive:
        member = archive.member(array_name)
        with as_corruption(f"array {member!r} of the NPZ archive cannot be read"):
            archive.check_size(member)  # numpy takes the memory that the header asks for before it reads
            file = archive.open(member)
            array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
            if file.read(1):  # and so to the end, where zipfile compares the checksum
                raise ValueError("bytes are left after the array")
    return array


def read_npz_arrays(data: Payload) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an NPZ archive in memory, by their names, each with its checksum verified.

    Those that are stored uncompressed, at an address that suits their type, are views of ``data``, read-only; others
    have memory of their own. Errors as of ``read_npz_bytes``.
    """
    with _Archive(data) as archive:
        found = {}
        for member in archive.zip.namelist():
            with as_corruption(f"array {member!r} of the NPZ archive cannot be read"):
                array = archive.stored_array(member)
            found[member.removesuffix(".npy")] = read_npz_bytes(data, member) if array is None else array
    return found


def npz_names(data: Payload) -> list[str]:
    """The names of the arrays of an NPZ archive in memory, in order; errors as `read_npz_bytes`."""
    with _Archive(data) as archive:
        return archive.names()


class _Archive:
    """An NPZ archive that is being read."""

    def __init__(self, data: Payload) -> None:
        view = byte_view(data)
        self._view = view
        with as_corruption("this is not an NPZ archive"):
            self.zip = zipfile.ZipFile(ViewFile(view))

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    def names(self) -> list[str]:
        return [name.removesuffix(".npy") for name in self.zip.namelist()]

    def member(self, name: str | None) -> str:
        """The member that holds array `name` (None: the first)."""
        members = self.zip.namelist()
        if name is None and members:
            return members[0]
        for candidate in (name, f"{name}.npy"):
            if candidate in members:
                return candidate
        raise ConfigError(f"no array {name!r} in the NPZ archive; it has {', '.join(self.names()) or 'none'}")


    def check_size(self, member: str) -> None:
        """Refuse an array whose header, or whose entry in the archive, promises more bytes than can be there.

        Raises:
            ValueError: it does.
        """
        entry = self.zip.getinfo(member)
        packed = min(entry.compress_size, len(self._view))
        most = _BEST_RATIO.get(entry.compress_type, _DEFLATE_RATIO) * packed
        if entry.compress_type in _UNPACKERS:
            most = max(most, _ALWAYS_UNPACKED)
        if entry.file_size > most:
            raise ValueError(f"its {entry.file_size} bytes cannot be in the {packed} of its entry")
        size = _promised_size(self.open(member))
        if size is not None and size != entry.file_size:
            raise ValueError(f"its header describes {size} bytes, and there are {entry.file_size}")


    def stored_array(self, member: str) -> npt.NDArray[Any] | None:
        """An array that is stored as it is, copied only where it lies at an odd address; None of others.

        Raises:
            ValueError: the member is damaged.
        """
        import numpy as np

        entry = self.zip.getinfo(member)
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            return None
        start = self._data_of(entry)
        data = self._view[start : start + entry.file_size]
        if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
            raise ValueError("its bytes are not those that its checksum is of")
        file = ViewFile(data)
        shape, fortran, dtype = _read_header(file)
        flat = np.frombuffer(data[file.tell() :].toreadonly(), np.uint8)
        simple = not dtype.hasobject and dtype.itemsize and len(flat) == math.prod(shape) * dtype.itemsize
        if not simple:
            return None  # read_npz_bytes says what is wrong
        if flat.ctypes.data % dtype.alignment:
            flat = flat.copy()
        return flat.view(dtype).reshape(shape, order="F" if fortran else "C")

    def _data_of(self, entry: zipfile.ZipInfo) -> int:
        """Where the data of a member begins."""
        _, name, extra = struct.unpack_from("<26s2H", self._view, entry.header_offset)  # APPNOTE, 4.3.7
        return int(entry.header_offset + 30 + name + extra)

    def open(self, member: str) -> IO[bytes]:
        """A member as a file, after ``check_size``. zipfile bounds what it unpacks of deflate only."""
        entry = self.zip.getinfo(member)
        unpacker = _UNPACKERS.get(entry.compress_type)
        if unpacker is None or entry.flag_bits & 1:  # encrypted: zipfile says so
            return self.zip.open(member)
        start = self._data_of(entry)
        data = unpacker(bytes(self._view[start : start + entry.compress_size]), entry.file_size)
        if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
            raise ValueError(f"it does not unpack to {entry.file_size} bytes with their checksum")
        return io.BytesIO(data)


def _unpack_bzip2(data: bytes, size: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, size + 1)


def _unpack_lzma(data: bytes, size: int) -> bytes:
    _, length, properties, window = struct.unpack_from("<2sHBI", data)  # APPNOTE, 5.8.8
    rest, lc = divmod(properties, 9)
    pb, lp = divmod(rest, 5)
    kind = {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": max(4096, min(window, size))}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[kind]).decompress(data[4 + length :], size + 1)


_UNPACKERS = {zipfile.ZIP_BZIP2: _unpack_bzip2, zipfile.ZIP_LZMA: _unpack_lzma}


def _read_header(file: IO[bytes] | ViewFile) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type of the array whose header is read."""
    import numpy as np

    version = np.lib.format.read_magic(file)
    # 3.0 differs from 2.0 in the encoding of the names of fields only (NEP 1).
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _promised_size(file: IO[bytes] | ViewFile) -> int | None:
    """The bytes of the NPY file whose header is read, by that; None where it holds Python objects."""
    shape, _, dtype = _read_header(file)
    return None if dtype.hasobject else file.tell() + math.prod(shape) * dtype.itemsize


class ViewFile(PositionedFile):
    """A read-only file over memory that is not copied, as `io.BytesIO` would."""

    def __init__(self, view: memoryview) -> None:
        super().__init__(len(view))
        self._view = view

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        start = self._position
        piece = bytes(self._view[start:] if size < 0 else self._view[start : start + size])
        self._position += len(piece)
        return piece


def _npy_parts(name: str, array: Any) -> tuple[bytes, memoryview]:
    """Header and data of an array; the data is not copied where it is contiguous in C or Fortran order."""
    import numpy as np

    try:
        array = np.asarray(array)
    except (ValueError, RuntimeError) as error:  # lists of several lengths; a tensor that requires a gradient
        raise ConfigError(f"array {name!r} cannot be made an array of numpy: {error}") from error
    if array.dtype.hasobject:
        raise ConfigError(f"array {name!r} holds Python objects; convert it to a number or fixed-length string type")
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    header = npy_header(array.shape, array.dtype, fortran_order=fortran)
    flat = array.ravel(order="F" if fortran else "C")
    return header, byte_view(flat.view(np.uint8) if flat.size else b"")


def _finish(plan: StoredZip, buffer: memoryview) -> BytesView:
    """Write the headers around the members, which are in their places."""
    crcs = []
    for i, (_, size) in enumerate(plan.members):
        start = plan.data_offsets[i]
        crcs.append(zlib.crc32(buffer[start : start + size]))
        header = plan.local_header(i, crcs[-1])
        buffer[plan.offsets[i] : plan.offsets[i] + len(header)] = header
    tail = plan.tail(crcs)
    buffer[plan.size - len(tail) :] = tail
    return BytesView(buffer)


def _number_type(dtype: Any) -> np.dtype[Any]:
    import numpy as np

    try:
        kind: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise ConfigError(f"unknown dtype {dtype!r}: {error}; examples: '<f4', '|u1', 'float32'") from error
    if kind.kind not in "biufc":
        raise ConfigError(f"dtype {dtype!r} is not a number type; examples: '<f4', '|u1', 'float32'")
    return kind


def _to_booleans(view: memoryview) -> None:
    """Keep the lowest bit of each byte: numpy's bool has no other valid bytes than 0 and 1."""
    import numpy as np

    flags = np.frombuffer(view, np.uint8)
    np.bitwise_and(flags, 1, out=flags)
