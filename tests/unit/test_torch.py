"""Data sets of torch: samples over the memory they were received in, workers, epochs, and what goes wrong."""

from __future__ import annotations

import gc
import io
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make finds no wheel without CUDA")

from torch.utils.data import DataLoader  # noqa: E402

import s3dlio  # noqa: E402
from s3dlio.errors import ConfigError, ObjectNotFoundError, S3dlioError  # noqa: E402
from s3dlio.memory.reader import BytesReader  # noqa: E402
from s3dlio.torch import ObjectStoreIterableDataset, ObjectStoreMapDataset  # noqa: E402

COUNT = 23
KINDS: Any = pytest.mark.parametrize("kind", [ObjectStoreMapDataset, ObjectStoreIterableDataset])


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Objects of one number each, repeated."""
    for number in range(COUNT):
        (tmp_path / f"{number:03}").write_bytes(bytes([number]) * (100 if number % 2 else 70_000))
    return f"file://{tmp_path}/"


def numbers(samples: Any) -> list[int]:
    return [int(sample[0]) for sample in samples]


def loader(data: Any, **named: Any) -> Any:
    return DataLoader(data, batch_size=None, **named)


def drained(made: Any) -> list[Any]:
    """What a loader gives. Its workers end with it: after an error torch itself leaves them to the collector, which
    takes their queues first, so that they are killed after some seconds."""
    samples = iter(made)
    try:
        return list(samples)
    finally:
        getattr(samples, "_shutdown_workers", int)()


# -- samples


def test_a_sample_is_a_tensor_over_the_memory_it_was_received_in(folder: str) -> None:
    data = ObjectStoreMapDataset(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample = data[2]
    assert sample.dtype == torch.uint8
    assert sample.shape == (70_000,)
    assert sample.data_ptr() % 4096 == 0  # that of the pool of buffers
    gc.collect()
    others = [data[4] for _ in range(3)]  # buffers that are given back would be filled again
    assert set(sample.tolist()) == {2}
    assert {value for other in others for value in other.tolist()} == {4}


def test_the_warning_of_read_only_memory_is_there_on_demand(folder: str) -> None:
    data = ObjectStoreMapDataset(folder, suppress_nonwritable_warning=False)
    with pytest.warns(UserWarning, match="not writable"):
        data[0]
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert int(ObjectStoreMapDataset(folder)[1][0]) == 1
    finally:
        torch.set_warn_always(False)


def test_writable_tensors_have_memory_of_their_own(folder: str) -> None:
    data = ObjectStoreMapDataset(folder, writable=True)
    sample = data[2]
    sample += 1
    assert set(sample.tolist()) == {3}
    assert set(data[2].tolist()) == {2}


@KINDS
def test_samples_are_what_was_asked_for(folder: str, kind: Any) -> None:
    def first(return_type: Any) -> Any:
        data = kind(folder, return_type=return_type)
        return data[0] if kind is ObjectStoreMapDataset else next(iter(data))

    whole = bytes(70_000)
    assert first("bytes") == whole
    assert type(first("BYTES")) is bytes
    assert isinstance(first("view"), s3dlio.BytesView)
    with first("reader") as reader:
        assert (len(reader), reader.read(10), reader.tell()) == (70_000, bytes(10), 10)
        assert reader.read_all() == whole[10:]
        assert reader.readall() == b""
    with pytest.raises(ValueError, match="I/O operation on closed"):
        reader.read()
    with pytest.raises(ValueError, match="return_type must be 'tensor', 'bytes', or 'reader'"):
        kind(folder, return_type="array")


def test_an_empty_object_is_an_empty_tensor(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for writable in (False, True):
        assert ObjectStoreMapDataset(f"file://{tmp_path}/", writable=writable)[0].shape == (0,)


def test_indices(folder: str) -> None:
    data = ObjectStoreMapDataset.from_prefix(folder, reader_mode="range", part_size=65536, max_inflight_parts=2)
    assert len(data) == COUNT
    assert numbers([data[np.int64(3)]]) == [3]
    assert numbers(data.__getitems__([3, 1, 3])) == [3, 1, 3]
    for wrong in (COUNT, -1):
        with pytest.raises(IndexError, match=str(wrong)):
            data[wrong]
        with pytest.raises(IndexError, match=str(wrong)):
            data.__getitems__([0, wrong])
    assert [name[-3:] for name in data.uris()] == data.keys() == [f"{number:03}" for number in range(COUNT)]


def test_uris_of_any_folders(folder: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x").write_bytes(b"\x63")
    uris = [f"{folder}005", f"direct://{tmp_path}/other/x"]
    assert numbers(ObjectStoreMapDataset.from_uris(uris).__getitems__([0, 1])) == [5, 99]
    assert numbers(ObjectStoreIterableDataset.from_uris(iter(uris), enable_sharding=True)) == [5, 99]


def test_options_by_name_and_as_one_object(folder: str) -> None:
    assert len(ObjectStoreMapDataset(folder, pattern="*5")) == 2
    options = s3dlio.PyLoaderOptions().prefetch(2).pin_memory()
    assert numbers(ObjectStoreIterableDataset(folder, loader_opts=options)) == list(range(COUNT))
    assert numbers(ObjectStoreIterableDataset(folder, loader_opts={"prefetch": 0})) == list(range(COUNT))
    with pytest.raises(ConfigError, match="prefetch"):
        ObjectStoreIterableDataset(folder, prefetsh=8)
    with pytest.raises(ConfigError, match="batch_size"):
        ObjectStoreMapDataset(folder, loader_opts={"batch_siz": 8})
    assert numbers(ObjectStoreIterableDataset(folder, batch_size=10**12)) == list(range(COUNT))


def test_older_names(folder: str) -> None:
    with pytest.warns(DeprecationWarning, match="ObjectStoreMapDataset"):
        assert len(s3dlio.S3MapDataset(folder)) == COUNT
    with pytest.warns(DeprecationWarning, match="ObjectStoreIterableDataset"):
        assert numbers(s3dlio.S3IterableDataset.from_prefix(folder, loader_opts={})) == list(range(COUNT))
    assert s3dlio._HAS_TORCH
    assert s3dlio._HAS_JAX_TF


def test_a_reader_is_a_file_that_pickles() -> None:
    held = io.BytesIO()
    np.save(held, np.arange(100))
    reader = BytesReader(held.getvalue())
    assert np.load(reader).tolist() == list(range(100))
    assert reader.seek(-8, os.SEEK_END) == len(reader) - 8
    other = pickle.loads(pickle.dumps(reader))
    assert other.read() == reader.read(8) == (99).to_bytes(8, "little")
    other.seek(0)
    assert other.readinto(bytearray(6)) == 6
    assert other.getbuffer()[:6] == b"\x93NUMPY"
    for wrong in (lambda: other.seek(-1), lambda: other.seek(0, 9)):
        with pytest.raises(ValueError, match=r"seek|whence"):
            wrong()


@KINDS
def test_samples_of_formats(tmp_path: Path, kind: Any) -> None:
    for number in range(4):
        np.savez(tmp_path / f"{number}.npz", x=np.full((3, 2), number, np.float32), y=np.array(number))
    for batch in DataLoader(kind(f"file://{tmp_path}/", format="npz"), batch_size=4, num_workers=1):
        assert batch["x"].shape == (4, 3, 2)
        assert batch["y"].tolist() == [0, 1, 2, 3]


# -- workers


@KINDS
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_each_object_comes_once(folder: str, kind: Any, workers: int) -> None:
    data = pickle.loads(pickle.dumps(kind(folder)))
    made = loader(data, num_workers=workers, persistent_workers=workers == 2)
    for _ in range(2):
        assert sorted(numbers(made)) == list(range(COUNT))


@KINDS
def test_batches_are_stacked(tmp_path: Path, kind: Any) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}").write_bytes(bytes([number]) * 70_000)
    batches = list(DataLoader(kind(f"file://{tmp_path}/"), batch_size=8, num_workers=2, drop_last=False))
    assert sorted(int(row[-1]) for batch in batches for row in batch) == list(range(20))
    assert {batch.shape[1:] for batch in batches} == {(70_000,)}


@KINDS
@pytest.mark.parametrize("return_type", ["bytes", "reader"])
def test_workers_send_samples_of_every_type(folder: str, kind: Any, return_type: str) -> None:
    found = list(loader(kind(folder, return_type=return_type), num_workers=2, collate_fn=None))
    contents = [sample if isinstance(sample, bytes) else sample.read() for sample in found]
    assert sorted(contents) == sorted(bytes([number]) * (100 if number % 2 else 70_000) for number in range(COUNT))


def test_a_loop_may_be_left_and_begun_again(folder: str) -> None:
    data = ObjectStoreIterableDataset(folder)
    for workers in (0, 2):
        made = loader(data, num_workers=workers, persistent_workers=bool(workers))
        for sample in made:
            assert int(sample[0]) in range(COUNT)
            break
        assert sorted(numbers(made)) == list(range(COUNT))


# -- epochs


def test_an_epoch_has_an_order_of_its_own_that_workers_hear_of(folder: str) -> None:
    data = ObjectStoreIterableDataset(folder, shuffle=True, seed=5)
    orders = []
    for epoch in range(3):
        data.set_epoch(epoch)
        orders.append(numbers(data))
        assert sorted(orders[-1]) == list(range(COUNT))
    assert len(set(map(tuple, orders))) == 3
    made = loader(data, num_workers=1, persistent_workers=True)
    for epoch in (2, 0, 0, 1):
        data.set_epoch(epoch)
        assert data.epoch == epoch
        assert numbers(made) == orders[epoch]


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_go_on_where_a_state_says_and_have_whole_epochs_then(folder: str, persistent: bool) -> None:
    data = ObjectStoreIterableDataset(folder, shuffle=True, seed=5)
    passing = iter(data)
    before = numbers(next(passing) for _ in range(9))
    other = ObjectStoreIterableDataset(folder, shuffle=True, seed=5)
    other.load_state_dict(data.state_dict())
    made = loader(other, num_workers=2, persistent_workers=persistent)
    assert sorted(before + numbers(made)) == list(range(COUNT))
    for _ in range(2):
        assert sorted(numbers(made)) == list(range(COUNT))


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
def test_states_of_torchdata_go_to_other_ranks_and_workers(folder: str) -> None:
    """Each rank stops after another number of batches, with others under way in its worker."""
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")

    def part(rank: int, ranks: int) -> Any:
        return ObjectStoreIterableDataset(
            folder, shuffle=True, batch_size=2, shard_rank=rank, shard_world_size=ranks, return_type="view"
        )

    def made(data: Any, workers: int) -> Any:
        return torchdata.StatefulDataLoader(data, batch_size=2, num_workers=workers, collate_fn=numbers)

    read, states = [], []
    for rank in range(2):
        batches = made(part(rank, 2), 1)
        for _, batch in zip(range(2 + rank), batches, strict=False):
            read += batch
        states.append(batches.state_dict())
    for rank, workers in enumerate((0, 2, 0)):
        data = part(rank, 3)
        data.load_state_dict(states)
        read += [number for batch in made(data, workers) for number in batch]
    assert sorted(read) == list(range(COUNT))


def test_ranks_share_the_objects_where_that_is_asked_for(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for rank in range(3):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
        assert sorted(numbers(ObjectStoreIterableDataset(folder))) == list(range(COUNT))
        data = pickle.dumps(ObjectStoreIterableDataset(folder, enable_sharding=True, list_once=False))
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)  # as in a spawned worker
        found += numbers(loader(pickle.loads(data), num_workers=2))
    assert sorted(found) == list(range(COUNT))


# -- what goes wrong: an exception in the consumer, never a hang, never a short epoch


@KINDS
def test_nothing_there_is_an_error_at_once(tmp_path: Path, kind: Any) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("missing/", "empty/"):
        with pytest.raises(ObjectNotFoundError, match=place):
            kind(f"file://{tmp_path}/{place}")


@pytest.mark.timeout(20)
@KINDS
@pytest.mark.parametrize("workers", [0, 2])
def test_an_object_that_is_gone_is_an_error_with_its_uri(folder: str, kind: Any, workers: int) -> None:
    data = kind(folder)
    os.unlink(f"{folder[7:]}017")
    with pytest.raises(ObjectNotFoundError, match="/017"):
        drained(loader(data, num_workers=workers))
    with pytest.raises(ObjectNotFoundError, match="/017"):
        drained(DataLoader(data, batch_size=10, num_workers=workers, collate_fn=len))


def refuse(sample: Any) -> Any:
    if int(sample[0]) == 11:
        raise LookupError("this one not")
    return sample


@pytest.mark.timeout(20)
@KINDS
@pytest.mark.parametrize("workers", [0, 2])
def test_a_transform_that_raises_is_an_error_with_the_uri(folder: str, kind: Any, workers: int) -> None:
    with pytest.raises(LookupError, match="this one not") as caught:
        drained(loader(kind(folder, transform=refuse), num_workers=workers))
    assert "/011" in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [ObjectStoreMapDataset, ObjectStoreIterableDataset])
def test_a_transform_that_says_stop_ends_no_epoch(folder: str, kind: Any, workers: int) -> None:
    with pytest.raises(S3dlioError, match="StopIteration") as caught:
        drained(loader(kind(folder, transform=stop), num_workers=workers))
    assert "/000" in str(caught.value)


def stop(data: Any) -> Any:
    return next(iter(()))


def test_a_loop_over_a_map_takes_no_error_for_its_end(folder: str) -> None:
    def beyond(data: Any) -> Any:
        return [data][1]

    data = ObjectStoreMapDataset(folder)
    assert len(list(data)) == len(data)
    with pytest.raises(IndexError, match="list index"):
        list(ObjectStoreMapDataset(folder, transform=beyond))


def test_an_epoch_is_no_negative_number(folder: str) -> None:
    with pytest.raises(ConfigError, match="epoch"):
        ObjectStoreIterableDataset(folder).set_epoch(-1)
