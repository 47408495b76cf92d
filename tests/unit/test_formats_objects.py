"""Generated objects of every type: whole, as streams, in chunks; reproducible, distinct, readable by others."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any

import numpy as np
import pytest

from s3dlio.errors import ConfigError, MissingDependencyError
from s3dlio.formats import ObjectConfig, ObjectSource, ObjectType, generate_object, iter_tfrecords
from s3dlio.memory.crc32c import crc32c

MIB = 1 << 20


@pytest.fixture(params=list(ObjectType))
def kind(request: pytest.FixtureRequest) -> ObjectType:
    if request.param is ObjectType.HDF5:
        pytest.importorskip("h5py")
    return ObjectType(request.param)


def streamed(source: ObjectSource, index: int, piece: int) -> tuple[bytes, int]:
    stream, out, buffer = source.open(index, checksum=True), bytearray(), bytearray(piece)
    while written := stream.readinto(buffer):
        out += buffer[:written]
    assert stream.position == stream.size == len(out)
    return bytes(out), stream.crc32c


@pytest.mark.parametrize(("size", "elements"), [(0, 1), (1, 1), (1000, 1), (1000, 7), (5, 0), (2 * MIB + 3, 1)])
def test_every_way_to_make_an_object_gives_the_same_bytes(kind: ObjectType, size: int, elements: int) -> None:
    source = ObjectSource(kind, size, elements=elements, seed=3, chunk_size=100_000)
    whole = bytes(source.get(5))
    assert len(whole) == source.size
    for piece in (333, 70_001) if size < MIB else (700_001, 3 * MIB):
        assert streamed(source, 5, piece) == (whole, crc32c(whole))
    chunks = list(source.chunks(5))
    assert b"".join(chunks) == whole
    assert all(len(chunk) == 100_000 for chunk in chunks[:-1])
    single = ObjectSource(kind, size, elements=elements, seed=3, mode="single_pass")
    assert [bytes(chunk) for chunk in single.chunks(5)] == ([whole] if whole else [])
    assert bytes(pickle.loads(pickle.dumps(source)).get(5)) == whole


def data_of(kind: ObjectType, data: bytes) -> bytes:
    """The generated data inside an object, read by somebody else's reader."""
    if kind is ObjectType.NPY:
        return bytes(np.load(io.BytesIO(data)))
    if kind is ObjectType.NPZ:
        return bytes(np.load(io.BytesIO(data))["data"])
    if kind is ObjectType.HDF5:
        h5py = pytest.importorskip("h5py")
        return bytes(h5py.File(io.BytesIO(data))["data"][...])
    if kind is ObjectType.TFRECORD:
        return b"".join(iter_tfrecords(data))
    return data


def test_readers_find_the_same_data_in_every_type(kind: ObjectType) -> None:
    source = ObjectSource(kind, 5000, elements=3, seed=8)
    if kind is ObjectType.ZEROS:
        assert bytes(source.get()) == bytes(15_000)
        return
    raw = bytes(ObjectSource("RAW", 15_000, seed=8).get())
    assert data_of(kind, bytes(source.get())) == raw
    assert len(np.unique(np.frombuffer(raw, np.uint8))) == 256


@pytest.mark.parametrize(("elements", "shape"), [(1, (20,)), (4, (4, 20)), (0, (0, 20))])
def test_arrays_have_the_shape_that_was_asked_for(elements: int, shape: tuple[int, ...]) -> None:
    h5py = pytest.importorskip("h5py")

    def make(name: str) -> io.BytesIO:
        return io.BytesIO(ObjectSource(name, 20, elements=elements).get())

    assert np.load(make("npy")).shape == shape
    assert np.load(make("npz"))["data"].shape == shape
    assert h5py.File(make("hdf5"))["data"].shape == shape


def test_objects_of_a_source_differ_and_factors_reach_their_data(kind: ObjectType) -> None:
    if kind is ObjectType.ZEROS:
        return
    source = ObjectSource(kind, 3000, seed=1)
    assert len({data_of(kind, bytes(source.get(i))) for i in range(20)}) == 20
    data = data_of(kind, bytes(ObjectSource(kind, 4 * MIB, dedup=2, compress=4).get()))
    assert data[:MIB] == data[2 * MIB : 3 * MIB] != data[MIB : 2 * MIB]
    assert data[MIB // 4 : MIB] == bytes(MIB * 3 // 4)


def test_generate_object_takes_a_config() -> None:
    config = ObjectConfig(object_type="tfrecord", size=100, elements=3, seed=4, mode="single-pass")
    assert config.object_type is ObjectType.TFRECORD
    assert bytes(generate_object(config)) == bytes(ObjectSource.from_config(config).get())
    assert len(generate_object(config)) == 3 * 116


def test_names_in_any_case_and_the_other_name_of_raw() -> None:
    assert ObjectSource("Random", 1, algorithm="PRAND", mode="Single-Pass").config == ObjectConfig(
        object_type=ObjectType.RAW, size=1, algorithm="prand", mode="single-pass"
    )


def test_a_source_of_enormous_objects_is_cheap() -> None:
    source = ObjectSource("TFRECORD", 1000, elements=1 << 36)
    assert source.size == 1016 << 36
    buffer = bytearray(1016)
    source.open(3).readinto(buffer)
    assert len(list(iter_tfrecords(buffer))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"object_type": "bogus"}, "object type 'bogus': use one of RAW, RANDOM, BINARY, ZEROS, NPY"),
        ({"object_type": None}, "unknown object type None"),
        ({"mode": "both"}, "data generation mode 'both'; write data_gen_mode='streaming'"),
        ({"algorithm": "fast"}, "data generation algorithm 'fast': use one of random, prand"),
        ({"size": -1}, "size must be"),
        ({"elements": -1}, "elements must be"),
        ({"chunk_size": 0}, "chunk_size must be"),
        ({"dedup": -2}, "dedup must be"),
        ({"seed": -1}, "seed must be"),
        ({"object_type": "zeros", "compress": 2}, "zeros have no dedup or compress"),
        ({"size": 1 << 40, "elements": 1 << 40}, "size must be"),
    ],
)
def test_bad_values_name_themselves(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ObjectSource(**{"object_type": "RAW", "size": 10, **options})


def test_what_does_not_fit_in_memory_is_refused_whole_but_streams() -> None:
    source = ObjectSource("RAW", 1 << 45, mode="single-pass")
    with pytest.raises(ConfigError, match="more than the"):
        source.get()
    with pytest.raises(ConfigError, match="more than the"):
        next(source.chunks())
    assert source.open().readinto(bytearray(10)) == 10


def test_a_missing_package_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 's3dlio\[hdf5\]'"):
        ObjectSource("HDF5", 10)


def test_a_stream_refuses_buffers_it_cannot_write() -> None:
    with pytest.raises(ValueError, match="Buffer must be writable"):
        ObjectSource("RAW", 10).open().readinto(b"read-only")
