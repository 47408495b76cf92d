"""safetensors on stores: what is written loads with Hugging Face's package, and what that writes loads here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3dlio.checkpoint.safetensors import SafetensorsReader, load_safetensors, open_safetensors
from s3dlio.checkpoint.safetensors_writer import save_safetensors, save_sharded_safetensors, split
from s3dlio.checkpoint.tensor_parts import TensorPart
from s3dlio.client import Client
from s3dlio.errors import (
    AlreadyExistsError,
    BatchError,
    BufferRefusedError,
    ConfigError,
    CorruptDataError,
    ObjectNotFoundError,
)
from s3dlio.formats.safetensors import build_header
from s3dlio.memory.pool import default_pool
from s3dlio.types import Observation
from tests.leases import assert_returned
from tests.stopped_stores import Stop, Stopped


def model() -> dict[str, Any]:
    """Tensors of all sizes: below and above what is read together."""
    chance = np.random.default_rng(1)
    return {
        "embed.weight": chance.random((700, 512), np.float32),
        "layer.0.weight": chance.integers(0, 255, (300, 40), np.uint8),
        "layer.0.bias": chance.random(40).astype(np.float16),
        "head": chance.random((2, 3, 4)),
        "step": np.array(7),
        "none": np.empty((0, 4), np.float32),
    }


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return found.keys() == expected.keys() and all(
        np.asarray(found[name]).dtype == value.dtype and np.array_equal(np.asarray(found[name]), value)
        for name, value in expected.items()
    )


def test_a_file_is_that_of_the_package(where: tuple[Client, str]) -> None:
    package = pytest.importorskip("safetensors.numpy")
    client, base = where
    assert save_safetensors(model(), f"{base}/a.safetensors", client=client) == [f"{base}/a.safetensors"]
    data = bytes(client.get(f"{base}/a.safetensors"))
    assert data == package.save(model())
    assert same(package.load(data), model())
    assert same(load_safetensors(f"{base}/a.safetensors", "np", client=client), model())


def test_a_directory_of_shards_has_an_index(where: tuple[Client, str]) -> None:
    client, base = where
    written = save_safetensors(model(), base, max_shard_size="600kB", metadata={"a": "b"}, client=client)
    names = [uri.removeprefix(f"{base}/") for uri in written]
    assert names == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    ]  # fmt: skip
    index = json.loads(bytes(client.get(written[-1])))
    assert index["metadata"] == {"total_size": sum(value.nbytes for value in model().values())}
    assert index["weight_map"] == {
        name: names[0] if name == "embed.weight" else names[1] for name in model()
    }
    for uri in (base, f"{base}/", written[-1]):
        reader = open_safetensors(uri, "np", client=client)
        assert same(reader.get_tensors(), model())
        assert reader.metadata() == {"a": "b"}
    with pytest.raises(AlreadyExistsError):
        save_safetensors(model(), base, client=client)
    again = {"x": np.arange(3.0)}
    assert save_safetensors(again, base, overwrite=True, client=client) == [f"{base}/model.safetensors"]
    assert client.list(f"{base}/") == [f"{base}/model.safetensors"]
    assert same(load_safetensors(base, "np", client=client), again)


def test_models_of_the_package_load_into_torch(tmp_path: Path, client: Client) -> None:
    package = pytest.importorskip("safetensors.torch")
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(64, 300), torch.nn.Linear(300, 5)).to(torch.bfloat16)
    package.save_model(net, str(tmp_path / "m.safetensors"))
    found = load_safetensors(tmp_path / "m.safetensors", client=client)
    other = torch.nn.Sequential(torch.nn.Linear(64, 300), torch.nn.Linear(300, 5)).to(torch.bfloat16)
    other.load_state_dict(found)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    save_safetensors(net.state_dict(), tmp_path / "ours.safetensors", client=client)
    ours = package.load_file(tmp_path / "ours.safetensors")
    assert ours.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in ours.items())


def test_tensors_are_filled_in_place(tmp_path: Path, client: Client) -> None:
    torch = pytest.importorskip("torch")
    stored = {
        "w": torch.randn(300, 200), "v": torch.randn(10, 64), "b": torch.randn(5).to(torch.bfloat16),
        "s": torch.tensor(2),
    }  # fmt: skip
    save_safetensors(stored, f"file://{tmp_path}/a.safetensors", client=client)
    wide = torch.zeros(300, 210)
    targets = {
        "w": wide[:, 5:205], "v": torch.zeros(64, 10).T, "b": torch.nn.Parameter(torch.zeros(5)), "s": torch.tensor(0),
    }  # fmt: skip
    assert load_safetensors(tmp_path / "a.safetensors", into=targets, client=client).keys() == targets.keys()
    assert all(torch.equal(targets[name].to(value.dtype), value) for name, value in stored.items())
    assert not wide[:, :5].any()
    assert not wide[:, 205:].any()
    arrays = {"w": np.zeros((300, 200), np.float32), "v": np.zeros((10, 64))}
    load_safetensors(tmp_path / "a.safetensors", into=arrays, names=["w", "v"], client=client)
    assert np.array_equal(arrays["w"], stored["w"].numpy())
    assert np.array_equal(arrays["v"], stored["v"].numpy().astype("f8"))
    with pytest.raises(ConfigError, match="shape"):
        load_safetensors(tmp_path / "a.safetensors", into={"w": torch.zeros(3)}, client=client)
    frozen = np.zeros((300, 200), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(BufferRefusedError, match="'w'"):
        load_safetensors(tmp_path / "a.safetensors", into={"w": frozen}, client=client)


def test_only_what_is_indexed_is_read(where: tuple[Client, str]) -> None:
    client, base = where
    tensor = np.arange(2000 * 1000, dtype=np.float32).reshape(2000, 20, 50)
    save_safetensors({"t": tensor}, f"{base}/a.safetensors", client=client)
    with SafetensorsReader(f"{base}/a.safetensors", "np", client=client) as reader:
        part = reader.get_slice("t")
        assert (part.get_shape(), part.get_dtype()) == ([2000, 20, 50], "F32")
        seen: list[Observation] = []
        client.add_observer(seen.append)
        assert np.array_equal(part[100:200], tensor[100:200])
        assert [one.bytes for one in seen] == [100 * 4000]
        assert np.array_equal(part[5], tensor[5])
        assert np.array_equal(part[-1, ..., 3:5], tensor[-1, ..., 3:5])
        assert np.array_equal(part[::7, 2:4, ::2], tensor[::7, 2:4, ::2])
        assert np.array_equal(part[...], tensor)
        assert part[3:3].shape == (0, 20, 50)
        backwards = slice(5, 0, -1)
        for wrong, error in (
            (2000, IndexError), ((0, 0, 0, 0), ConfigError), ("a", TypeError), (backwards, ConfigError),
        ):  # fmt: skip
            with pytest.raises(error):
                part[wrong]
        with pytest.raises(ConfigError, match="'other'"):
            reader.get_tensor("other")


def test_opening_reads_headers_and_tensors_are_one_request_each(client: Client) -> None:
    tensors = {f"t{number}": np.full(400_000, number, np.float32) for number in range(4)}
    tensors |= {f"small{number}": np.full(10, number, np.int8) for number in range(50)}
    save_safetensors(tensors, "memory://requests/a.safetensors", client=client)
    seen: list[Observation] = []
    client.add_observer(seen.append)
    reader = open_safetensors("memory://requests/a.safetensors", "np", client=client)
    assert [(one.operation, one.bytes <= 128 << 10) for one in seen] == [("GET_RANGE", True)]
    seen.clear()
    before = default_pool().stats().leased
    found = reader.get_tensors()
    assert same(found, {name: tensors[name] for name in found})
    assert len(seen) == 5  # the small ones together
    del found
    assert_returned(before)


def test_long_headers(client: Client) -> None:
    tensors = {f"{'layer.' * 20}{number}": np.array([number]) for number in range(2000)}
    save_safetensors(tensors, "memory://long/a.safetensors", client=client)
    assert same(load_safetensors("memory://long/a.safetensors", "np", client=client), tensors)


def test_a_file_that_is_replaced_meanwhile_is_no_mixture(where: tuple[Client, str]) -> None:
    client, base = where
    save_safetensors({"a": np.zeros(500_000)}, f"{base}/a.safetensors", client=client)
    reader = open_safetensors(f"{base}/a.safetensors", "np", client=client)
    save_safetensors({"a": np.ones(500_001)}, f"{base}/a.safetensors", client=client)
    with pytest.raises(BatchError, match=r"a\.safetensors"):
        reader.get_tensors()


def test_ranks_write_their_parts(where: tuple[Client, str]) -> None:
    client, base = where
    whole = np.arange(60 * 8, dtype=np.float32).reshape(60, 8)
    for rank in range(3):
        parts = {
            "rows": TensorPart(whole[rank * 20 : rank * 20 + 20], (rank * 20, 0), (60, 8)),
            "columns": TensorPart(whole[:, (0, 4, 4)[rank] : (4, 4, 8)[rank]], (0, (0, 4, 4)[rank]), (60, 8)),
            "same": np.arange(5), "too": np.array(3.5),
        }  # fmt: skip
        save_sharded_safetensors(parts, base, rank=rank, world_size=3, client=client)
        if rank < 2:
            with pytest.raises(CorruptDataError, match="3 ranks"):
                load_safetensors(base, "np", client=client)
    expected = {"rows": whole, "columns": whole, "same": np.arange(5), "too": np.array(3.5)}
    assert same(load_safetensors(base, "np", client=client), expected)
    reader = open_safetensors(base, "np", client=client)
    assert np.array_equal(reader.get_slice("columns")[7:30, 2:6], whole[7:30, 2:6])
    assert np.array_equal(reader.get_slice("rows")[15:45, 3], whole[15:45, 3])


@pytest.mark.parametrize(
    ("begins", "size", "match"), [((0, 3), 5, "missing"), ((0, 1), 4, "twice"), ((0, 0), 4, "twice")]
)
def test_parts_must_be_the_whole_once_each(client: Client, begins: tuple[int, int], size: int, match: str) -> None:
    base = f"memory://parts-{size}-{begins[1]}/d"
    for rank, begin in enumerate(begins):
        part = TensorPart(np.zeros(2, np.int8), (begin,), (size,))
        save_sharded_safetensors({"t": part}, base, rank=rank, world_size=2, client=client)
    with pytest.raises(CorruptDataError, match=match):
        load_safetensors(base, "np", client=client)


@pytest.mark.parametrize("shape", [5, ["x"], [2, 1], [2.0], [-2, -1], [True, 2]])
def test_files_of_ranks_that_say_no_shape_are_refused(client: Client, shape: Any) -> None:
    sharding = json.dumps({"world_size": 1, "shapes": {"t": shape}})
    header, _ = build_header({"t": ("I8", (2,))}, {"s3dlio_sharding": sharding})
    client.put_bytes("memory://no-shape/t.safetensors", header + bytes(2))
    with pytest.raises(CorruptDataError):
        open_safetensors("memory://no-shape/t.safetensors", "np", client=client)


def test_a_part_lies_within_its_tensor() -> None:
    for offsets, shape in (((3,), (4,)), ((-1,), (4,)), ((0, 0), (4,)), ((0,), (4, 4))):
        with pytest.raises(ConfigError, match="part"):
            TensorPart(np.zeros(2), offsets, shape)


def test_what_is_no_model_is_refused(client: Client) -> None:
    with pytest.raises((ObjectNotFoundError, BatchError)):
        load_safetensors("memory://foreign/none/", "np", client=client)
    client.put_bytes("memory://foreign/a/x.safetensors", b"\x00" * 40)
    with pytest.raises(CorruptDataError, match=r"x\.safetensors"):
        load_safetensors("memory://foreign/a", "np", client=client)
    with pytest.raises(ConfigError, match="framework"):
        open_safetensors("memory://foreign/a", "mxnet", client=client)
    with pytest.raises(ConfigError, match="'n'"):
        save_safetensors({"n": 3}, "memory://foreign/b", client=client)
    assert not client.exists("memory://foreign/b/model.safetensors")


@pytest.mark.parametrize(
    "index",
    [
        b"{", b"[]", b"{}", {"weight_map": []}, {"weight_map": {"x": 1}}, {"weight_map": {"x": "../m.safetensors"}},
        {"weight_map": {"x": "/m.safetensors"}}, {"weight_map": {"x": "a//m.safetensors"}},
        {"weight_map": {"other": "m.safetensors"}}, {"weight_map": {"x": "m.bin"}},
    ],
)  # fmt: skip
def test_damaged_indices_are_refused(client: Client, index: Any) -> None:
    save_safetensors({"x": np.zeros(3)}, "memory://indices/d/m.safetensors", client=client)
    text = index if isinstance(index, bytes) else json.dumps(index).encode()
    client.put_bytes("memory://indices/d/model.safetensors.index.json", text)
    with pytest.raises(CorruptDataError, match="index"):
        load_safetensors("memory://indices/d", "np", client=client)


def test_shards_are_filled_in_order() -> None:
    assert split({"a": 3, "b": 3, "c": 10, "d": 1, "e": 0}, 6) == [["a", "b"], ["c"], ["d", "e"]]
    assert split({}, 6) == [[]]


OLD = {"a": np.arange(50.0), "b": np.arange(60.0), "c": np.arange(70.0)}
NEW = {"b": np.ones(60), "c": np.ones(70), "d": np.ones(80)}


@pytest.mark.parametrize(("before", "after"), [(9999, 9999), (9999, 500), (500, 9999), (500, 500), (900, 500)])
def test_a_model_that_is_replaced_is_the_old_or_the_new_one_wherever_that_stops(
    monkeypatch: pytest.MonkeyPatch, client: Client, before: int, after: int
) -> None:
    """Each write and delete in turn is where the process ends."""
    stop = Stop(monkeypatch)
    for last in range(1, 12):
        base = f"memory://replaced-{before}-{after}-{last}/m"
        save_safetensors(OLD, base, max_shard_size=before, client=client)
        stop.after(last)
        try:
            save_safetensors(NEW, base, max_shard_size=after, overwrite=True, client=client)
            ended = True
        except Stopped:
            ended = False
        stop.after(None)
        found = load_safetensors(base, "np", client=client)
        assert same(found, NEW) or (same(found, OLD) and not ended)
        if ended:
            save_safetensors(OLD, base, max_shard_size=after, overwrite=True, client=client)
            assert same(load_safetensors(base, "np", client=client), OLD)
            assert len(client.list(f"{base}/")) == (1 if after == 9999 else 4)
            return
    raise AssertionError("it has not ended")
