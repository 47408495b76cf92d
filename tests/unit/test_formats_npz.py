"""NPY and NPZ: numpy reads what we write, and we read what numpy writes, damaged files excepted."""

from __future__ import annotations

import contextlib
import io
import random
import tracemalloc
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from s3dlio.errors import ConfigError, CorruptDataError
from s3dlio.formats import (
    build_multi_npz,
    build_npy,
    generate_npz_bytes,
    npz,
    npz_names,
    read_npz_arrays,
    read_npz_bytes,
)
from s3dlio.formats.npz import npy_header
from s3dlio.formats.stored_zip import StoredZip

ARRAYS: dict[str, npt.NDArray[Any]] = {
    "int": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big_endian": np.arange(5, dtype=">f8"),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "text": np.array(["ä", "long text"]),
    "bytes": np.array([b"ab", b"c"]),
    "dates": np.array(["2026-01-01"], "datetime64[D]"),
    "record": np.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", "<f8")]),
    "scalar": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
    "strided": np.arange(20)[::3],
    "ünïcode": np.ones(3),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_every_type_that_numpy_writes(save: Any) -> None:
    out = io.BytesIO()
    save(out, **ARRAYS)
    data = out.getvalue()
    assert npz_names(data) == list(ARRAYS)
    for name, expected in ARRAYS.items():
        array = read_npz_bytes(memoryview(data), name)
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype
        assert array.flags.writeable
        assert array.flags.f_contiguous == (expected if name != "strided" else array).flags.f_contiguous
    whole = read_npz_arrays(data)
    assert list(whole) == list(ARRAYS)
    for name, expected in ARRAYS.items():
        np.testing.assert_array_equal(whole[name], expected)
        assert whole[name].dtype == expected.dtype
        assert whole[name].flags.aligned
    np.testing.assert_array_equal(read_npz_bytes(data), ARRAYS["int"])
    np.testing.assert_array_equal(read_npz_bytes(data, "int.npy"), ARRAYS["int"])


def test_numpy_reads_what_is_built() -> None:
    archive = build_multi_npz(list(ARRAYS.items()))
    loaded = np.load(io.BytesIO(archive))
    assert loaded.files == list(ARRAYS)
    for name, expected in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], expected)
        assert loaded[name].dtype == expected.dtype
    assert zipfile.ZipFile(io.BytesIO(archive)).testzip() is None
    np.testing.assert_array_equal(np.load(io.BytesIO(build_npy(ARRAYS["fortran"]))), ARRAYS["fortran"])


def test_equal_arrays_make_equal_archives() -> None:
    assert bytes(build_multi_npz([("data", [1, 2]), ("labels", [3])])) == bytes(
        build_multi_npz([("data", np.array([1, 2])), ("labels", np.array([3]))])
    )
    assert npz_names(build_multi_npz([])) == []


@pytest.mark.parametrize(
    ("shape", "dtype", "samples"), [([6, 5, 1], "<f4", 1), ([], "<i8", 0), ([0, 3], "float32", 4), ([999], "bool", 2)]
)
def test_generated_archives_have_the_shapes_and_types_asked_for(shape: list[int], dtype: str, samples: int) -> None:
    data = generate_npz_bytes(shape, dtype, samples)
    loaded = np.load(io.BytesIO(data))
    assert loaded.files == ["x", "y"]
    assert (loaded["x"].shape, loaded["x"].dtype) == (tuple(shape), np.dtype(dtype))
    assert loaded["y"].dtype == np.dtype("<i8")
    np.testing.assert_array_equal(loaded["y"], np.zeros(samples))
    if dtype == "bool":
        assert set(loaded["x"].view(np.uint8)) == {0, 1}


def test_generated_samples_are_random() -> None:
    first, second = (read_npz_bytes(generate_npz_bytes([100_000], "|u1"), "x") for _ in range(2))
    assert len(np.unique(first)) == 256
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1], "bogus"), "unknown dtype 'bogus'"),
        (([1], "O"), "not a number type"),
        (([1], "U5"), "not a number type"),
        (([-1],), "dimension of shape"),
        (([1], "<f4", -1), "num_samples"),
        (([1 << 40],), "memory"),
    ],
)
def test_generate_refuses(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate_npz_bytes(*arguments)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([("a", [1]), ("a", [2])], "distinct"),
        ([("", [1])], "non-empty"),
        ([(3, [1])], "strings"),
        ([("a", [object()])], "array 'a' holds Python objects"),
    ],
)
def test_build_refuses(arrays: list[tuple[Any, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_multi_npz(arrays)


def test_a_missing_array_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no array 'x' in the NPZ archive; it has data, labels"):
        read_npz_bytes(build_multi_npz([("data", [1]), ("labels", [2])]), "x")
    with pytest.raises(ConfigError, match="it has none"):
        read_npz_bytes(build_multi_npz([]))


def test_objects_are_never_unpickled() -> None:
    out = io.BytesIO()
    np.savez(out, bad=np.array([{"any": "object"}], dtype=object))
    with pytest.raises(CorruptDataError, match="allow_pickle=False"):
        read_npz_bytes(out.getvalue())


def test_damage_is_found() -> None:
    data = bytearray(build_multi_npz([("data", np.arange(1000))]))
    with pytest.raises(CorruptDataError, match="not an NPZ archive"):
        read_npz_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptDataError, match="not an NPZ archive"):
        read_npz_bytes(b"")
    data[len(data) // 2] ^= 1
    with pytest.raises(CorruptDataError, match=r"array 'data\.npy' of the NPZ archive cannot be read: Bad CRC-32"):
        read_npz_bytes(data)


def test_bytes_that_are_stored_as_they_are_are_not_copied() -> None:
    data = build_multi_npz([("x", np.arange(200, dtype=np.uint8))])
    array = read_npz_arrays(data)["x"]
    assert not array.flags.writeable
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_raises_nothing_else(save: Any) -> None:
    out = io.BytesIO()
    save(out, x=np.arange(100), y=np.ones(3, "u1"))
    good, chance = out.getvalue(), random.Random(6)
    for _ in range(200):
        data = bytearray(good[: chance.choice((len(good), chance.randrange(len(good))))])
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with contextlib.suppress(CorruptDataError):
            read_npz_arrays(data)


def test_a_member_that_is_no_array_or_too_short() -> None:
    for member, message in [(b"text", "cannot be read"), (bytes(build_npy([1, 2]))[:-1], "cannot be read")]:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.npy", member)
        with pytest.raises(CorruptDataError, match=message):
            read_npz_bytes(out.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("shape", [(1 << 50,), (3,), (1 << 40, 1 << 40), (-1,)])
def test_a_header_that_lies_about_the_shape_is_damage(shape: tuple[int, ...], method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a.npy", npy_header(shape, "<f8") + bytes(8))
    with pytest.raises(CorruptDataError, match=r"array 'a\.npy' .* cannot be read: its header describes"):
        read_npz_bytes(out.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_entry_that_lies_about_its_size_is_damage(method: int) -> None:
    size = 0xFFFF_FF00 - 128
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a.npy", npy_header((size,), "|u1") + bytes(8))
    data = bytearray(out.getvalue())
    entry = data.index(b"PK\1\2")
    data[entry + 24 : entry + 28] = (size + 128).to_bytes(4, "little")
    with pytest.raises(CorruptDataError, match="cannot be in the"):
        read_npz_bytes(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_compressed_arrays(method: int, size: int) -> None:
    array = np.arange(size) // 3
    out = io.BytesIO(b"in front of it")
    out.seek(0, io.SEEK_END)
    with zipfile.ZipFile(out, "a", method) as archive:
        archive.writestr("a.npy", bytes(build_npy(array)))
    assert np.array_equal(read_npz_bytes(out.getvalue()), array)
    damaged = bytearray(out.getvalue())
    damaged[len(b"in front of it") + 14 + 40] ^= 1
    with pytest.raises(CorruptDataError):
        read_npz_bytes(damaged)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_no_more_is_unpacked_than_the_archive_says(method: int) -> None:
    """The entry tells of a small array, and the data goes on for 48 MiB."""
    small, rest = bytes(build_npy(np.zeros(100, "u1"))), 48 << 20
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a.npy", small + bytes(rest))
    data = bytearray(out.getvalue())
    entry = data.index(b"PK\1\2")
    data[entry + 24 : entry + 28] = len(small).to_bytes(4, "little")
    data[entry + 16 : entry + 20] = zlib.crc32(small).to_bytes(4, "little")
    tracemalloc.start()
    with contextlib.suppress(CorruptDataError):  # zipfile stops a deflated one at its size, and looks no further
        read_npz_bytes(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_few_bytes_do_not_become_gigabytes(method: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a.npy", bytes(build_npy(np.zeros(20 << 20, "u1"))))
    assert read_npz_bytes(out.getvalue()).nbytes == 20 << 20
    monkeypatch.setattr(npz, "_ALWAYS_UNPACKED", 1 << 20)
    with pytest.raises(CorruptDataError, match="cannot be in"):
        read_npz_bytes(out.getvalue())


@pytest.mark.parametrize("streamed", [False, True])
def test_archives_beyond_4_gib_have_64_bit_headers(tmp_path: Any, streamed: bool) -> None:
    """On a sparse file: the members are 5 GiB of holes, and zipfile finds each where it is."""
    sizes = [("a.npy", 5 << 30), ("b.npy", 3), ("c.npy", (1 << 32) - 1)]
    plan = StoredZip(sizes, streamed=streamed)
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        for i, (name, size) in enumerate(sizes):
            file.seek(plan.offsets[i])
            file.write(plan.local_header(i, 0))
            assert file.tell() == plan.data_offsets[i]
            file.seek(plan.data_offsets[i] + size - 1)
            file.write(name[:1].encode() + plan.descriptor(i, 0))
        file.write(plan.tail([0, zlib.crc32(b"\0\0b"), 0]))
        assert file.tell() == plan.size
    with zipfile.ZipFile(path) as archive:
        assert [(info.filename, info.file_size) for info in archive.infolist()] == sizes
        assert [info.header_offset for info in archive.infolist()] == plan.offsets
        with archive.open("b.npy") as member:
            assert member.read() == b"\0\0b"
