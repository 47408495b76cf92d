"""Copies to a GPU and back, with a CUDA runtime that needs none: what is pinned, for how long, and what lives on."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import s3dlio
from s3dlio import gpu
from s3dlio.checkpoint import device_tensors, safetensors
from s3dlio.checkpoint import tensors as arrays
from s3dlio.errors import BatchError, ConfigError, CudaError, ObjectNotFoundError, OutOfMemoryError
from s3dlio.memory import device_copies
from s3dlio.memory.cuda import CudaRuntime
from s3dlio.memory.device_copies import DeviceCopies
from s3dlio.memory.pool import BufferPool, default_pool
from tests.cuda_library import CudaLibrary

MIB = 1 << 20


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaLibrary]:
    """The CUDA runtime of this process, with the default pool."""
    found = CudaLibrary()
    pool = default_pool()
    pool.trim()
    before = pool.unmapping
    copies = DeviceCopies(CudaRuntime(found), pool)
    monkeypatch.setattr(device_copies, "_made", [copies])
    yield found
    found.failing.clear()
    copies.release()
    pool.unmapping = before


class Bench:
    """A pool of its own, and device memory of 64 MiB."""

    def __init__(self, limit: int = 64 * MIB) -> None:
        self.library = CudaLibrary()
        self.pool = BufferPool(64 * MIB)
        self.copies = DeviceCopies(CudaRuntime(self.library), self.pool, limit)
        self.memory = bytearray(64 * MIB)
        self.address = device_copies.address_of(memoryview(self.memory))

    def filled(self, size: int, byte: int) -> memoryview:
        view = self.pool.lease(size)
        view[:] = bytes([byte]) * size
        return view

    def start(self, view: memoryview, at: int = 0) -> device_copies.Copy:
        return self.copies.start(view, [(0, len(view), self.address + at)], 0, 0)


def address_of(view: memoryview) -> int:
    return device_copies.address_of(view)


def test_a_slab_goes_back_after_its_copy_and_not_before() -> None:
    bench = Bench()
    view = bench.filled(8 * MIB, 1)
    slab = address_of(view)
    bench.start(view)
    del view
    other = bench.filled(8 * MIB, 2)
    assert address_of(other) != slab
    assert bench.memory[0] == 0
    bench.copies.settle()
    assert bench.memory[: 8 * MIB] == b"\1" * (8 * MIB)
    assert address_of(bench.filled(8 * MIB, 3)) == slab
    assert not bench.library.events


def test_a_slab_is_registered_once_and_unregistered_before_it_goes() -> None:
    bench = Bench()
    for byte in range(1, 5):
        bench.copies.finish(bench.start(bench.filled(8 * MIB, byte)))
        assert bench.memory[8 * MIB - 1] == byte
    view = bench.filled(8 * MIB, 9)
    bench.copies.finish(bench.start(view[MIB : 2 * MIB]))  # a part of it is in the same slab
    assert bench.library.calls.count("cudaHostRegister") == 1
    assert len(bench.library.registered) == 1
    del view
    bench.pool.trim()
    assert not bench.library.registered
    assert bench.pool.stats().idle == 0


def test_small_slabs_and_foreign_memory_are_not_pinned() -> None:
    bench = Bench()
    bench.start(bench.filled(MIB, 1))
    bench.start(memoryview(b"\2" * 8 * MIB), MIB)
    bench.copies.settle()
    assert not bench.library.calls.count("cudaHostRegister")
    assert (bench.memory[MIB - 1], bench.memory[MIB]) == (1, 2)


def test_no_more_is_pinned_than_the_limit_and_what_was_used_last_stays() -> None:
    bench = Bench(24 * MIB)
    views = [bench.filled(8 * MIB, byte) for byte in range(6)]
    for position in (0, 1, 2, 0, 3):
        bench.copies.finish(bench.start(views[position]))
    assert {*bench.library.registered} == {address_of(views[position]) for position in (2, 0, 3)}
    for position, view in enumerate(views):
        bench.start(view, position * 8 * MIB)
    bench.copies.settle()
    assert [bench.memory[position * 8 * MIB] for position in range(6)] == [*range(6)]
    assert bench.library.most_registered == 24 * MIB
    bench.copies.release()
    assert not bench.library.registered


@pytest.mark.parametrize(
    "function", ["cudaMemcpyAsync", "cudaEventCreateWithFlags", "cudaEventRecord", "cudaHostRegister"]
)
@pytest.mark.parametrize("failure", [700, KeyboardInterrupt])
def test_what_a_failed_copy_may_read_is_kept_until_its_stream_is_done(function: str, failure: Any) -> None:
    bench = Bench()
    view = bench.filled(8 * MIB, 1)
    slab = address_of(view)
    bench.library.failing[function] = failure
    with pytest.raises(CudaError if failure == 700 else KeyboardInterrupt) as caught:
        bench.start(view)
    if isinstance(caught.value, CudaError):
        assert caught.value.code == "cudaErrorIllegalAddress"
        assert function in str(caught.value)
    caught = None  # type: ignore[assignment]
    bench.library.failing.clear()
    del view
    assert address_of(bench.filled(8 * MIB, 2)) != slab
    bench.copies.settle()
    assert "cudaStreamSynchronize" in bench.library.calls
    assert bench.memory[0] in ((1,) if function.startswith("cudaEvent") else (0,))
    assert address_of(bench.filled(8 * MIB, 3)) == slab


def test_an_interrupt_while_it_waits_lets_go_of_nothing() -> None:
    bench = Bench()
    view = bench.filled(8 * MIB, 1)
    slab = address_of(view)
    copy = bench.start(view)
    bench.library.failing["cudaEventSynchronize"] = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        bench.copies.finish(copy)
    bench.library.failing.clear()
    del view, copy
    assert address_of(bench.filled(8 * MIB, 2)) != slab
    bench.copies.settle()
    assert bench.memory[0] == 1


def test_memory_of_a_device_that_failed_is_never_given_away() -> None:
    bench = Bench()
    view = bench.filled(8 * MIB, 1)
    slab = address_of(view)
    bench.start(view)
    bench.library.failing["cudaEventSynchronize"] = 700
    with pytest.raises(CudaError, match="cudaErrorIllegalAddress"):
        bench.copies.settle()
    del view
    assert address_of(bench.filled(8 * MIB, 2)) != slab
    bench.copies.release()
    assert slab in bench.library.registered


def test_memory_that_cannot_be_pinned_is_copied_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.library.failing["cudaHostRegister"] = 2
    for byte in (1, 2):
        bench.copies.finish(bench.start(bench.filled(8 * MIB, byte)))
        assert bench.memory[0] == byte
    assert bench.library.calls.count("cudaHostRegister") == 1
    assert "cudaErrorMemoryAllocation" in caplog.text


def test_a_slab_beyond_the_limit_takes_the_place_of_no_other() -> None:
    bench = Bench(8 * MIB)
    small, large = bench.filled(8 * MIB, 1), bench.filled(16 * MIB, 2)
    bench.copies.finish(bench.start(small))
    bench.copies.finish(bench.start(large))
    assert [*bench.library.registered] == [address_of(small)]
    assert bench.memory[16 * MIB - 1] == 2


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, bytes]:
    content = random.Random(1).randbytes(3 * MIB) * 7 + b"the end"
    (tmp_path / "object").write_bytes(content)
    return str(tmp_path / "object"), content


def test_an_object_goes_to_the_device_and_back(library: CudaLibrary, data: tuple[str, bytes], tmp_path: Path) -> None:
    path, content = data
    for _ in range(3):
        found = gpu.get_to_device(path)
        about = found.__cuda_array_interface__
        assert (about["shape"], about["typestr"]) == ((len(content),), "|u1")
        assert ctypes.string_at(about["data"][0], len(content)) == content
    assert 0 < library.calls.count("cudaHostRegister") <= 3
    assert gpu.pinned_bytes() == sum(library.registered.values())
    written = gpu.put_from_device(found, str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content == bytes(found)
    assert written == len(content)
    del found, about
    assert not library.allocated
    gpu.release()
    assert not library.registered
    assert not gpu.pinned_bytes()


def test_views_and_empty_objects_go_to_the_device(
    library: CudaLibrary, data: tuple[str, bytes], tmp_path: Path
) -> None:
    path, content = data
    assert bytes(gpu.to_device(s3dlio.get(Path(path)), "cuda:0")) == content
    (tmp_path / "empty").touch()
    assert len(gpu.get_to_device(tmp_path / "empty", 0)) == 0 == len(gpu.to_device(b""))
    assert gpu.put_from_device(gpu.to_device(b""), tmp_path / "other") == 0


def test_errors_are_typed_and_say_what_cuda_says(library: CudaLibrary, data: tuple[str, bytes], tmp_path: Path) -> None:
    path, _ = data
    with pytest.raises(ObjectNotFoundError):
        gpu.get_to_device(tmp_path / "none")
    for device in ("cpu", "cuda:1", 7, "gpu"):
        with pytest.raises(ConfigError):
            gpu.get_to_device(path, device)
    with pytest.raises(ConfigError, match="no array of a GPU"):
        gpu.put_from_device(b"host", tmp_path / "never")
    library.failing = {"cudaMalloc": 2}
    with pytest.raises(OutOfMemoryError, match="cudaErrorMemoryAllocation"):
        gpu.get_to_device(path)
    library.failing = {"cudaMemcpyAsync": 1}
    with pytest.raises(BatchError, match="cudaErrorInvalidValue"):
        gpu.get_to_device(path)
    library.failing = {}
    found = gpu.to_device(b"x" * 20 * MIB)
    library.failing = {"cudaEventSynchronize": 700}
    with pytest.raises(CudaError, match="cudaErrorIllegalAddress"):
        gpu.put_from_device(found, tmp_path / "never")
    assert not (tmp_path / "never").exists()
    library.failing = {"cudaGetDeviceCount": 100}
    with pytest.raises(CudaError, match="has no GPU") as caught:
        gpu.device_count()
    assert caught.value.code == "cudaErrorNoDevice"


@pytest.mark.parametrize("failure", [700, KeyboardInterrupt])
def test_what_a_read_that_failed_has_begun_ends_before_its_memory_goes(
    library: CudaLibrary, data: tuple[str, bytes], failure: Any
) -> None:
    path, _ = data
    gpu.get_to_device(path)
    gc.collect()
    before = default_pool().stats().leased
    library.failing = {"cudaEventSynchronize": failure, "cudaEventQuery": 600}
    with pytest.raises(CudaError if failure == 700 else KeyboardInterrupt):
        gpu.get_to_device(path)
    assert library.allocated, "the copies that are under way have their memory"
    assert default_pool().stats().leased > before
    library.failing = {}
    if failure != 700:
        gc.collect()
        gpu.release()
        assert not library.allocated
        assert default_pool().stats().leased == before
        assert not library.registered


@pytest.fixture
def torch_gpu(library: CudaLibrary, monkeypatch: pytest.MonkeyPatch) -> Any:
    """torch, whose host is taken for a GPU."""
    torch = pytest.importorskip("torch")

    def target(device: Any) -> Any:
        if device is None:
            return None
        return device_tensors.Target(torch.device("cpu"), 0, 0, device_copies.device_copies())

    for module in (device_tensors, safetensors, gpu):
        monkeypatch.setattr(module, "torch_target", target)
    return torch


@pytest.fixture
def model(tmp_path: Path) -> Any:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(1)
    tensors = {f"small.{number}": torch.rand(number, 7, generator=generator) for number in range(40)}
    tensors["large"] = torch.rand(5 * MIB + 3, generator=generator)
    tensors["half"] = torch.rand(1000, 1000, generator=generator).to(torch.bfloat16)
    tensors |= {"scalar": torch.tensor(3), "empty": torch.empty(0, 4)}
    s3dlio.save_safetensors(tensors, tmp_path / "model", max_shard_size=8 * MIB)
    return tmp_path / "model", tensors


def same(found: Any, wanted: Any) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == wanted[name].dtype and found[name].equal(wanted[name]) for name in wanted
    )


def test_safetensors_go_straight_to_the_device(torch_gpu: Any, model: Any, library: CudaLibrary) -> None:
    place, tensors = model
    assert same(gpu.load_safetensors(place, "cuda"), tensors)
    assert same(s3dlio.load_safetensors(place, "pt", "cuda"), tensors)
    assert library.registered
    assert library.most_registered <= 32 * MIB
    keys = ["half", "small.3"]
    assert same(gpu.load_safetensors(place, "cuda", keys=keys), {key: tensors[key] for key in keys})
    with pytest.raises(ConfigError, match="no tensor 'other'"):
        gpu.load_safetensors(place, keys=["other"])


def test_tensors_of_a_device_are_filled(
    torch_gpu: Any, model: Any, monkeypatch: pytest.MonkeyPatch, library: CudaLibrary
) -> None:
    place, tensors = model
    monkeypatch.setattr(arrays, "writable_bytes", lambda name, value: None)  # as of what is on a device
    into = {name: torch_gpu.zeros_like(tensor) for name, tensor in tensors.items()}
    s3dlio.load_safetensors(place, into=into)
    assert same(into, tensors)
    assert library.calls.count("cudaMemcpyAsync") > 40
    strided = {"half": torch_gpu.zeros(1000, 1000, dtype=torch_gpu.bfloat16).T}
    wider = {"half": torch_gpu.zeros(1000, 1000)}
    s3dlio.load_safetensors(place, into=strided)
    s3dlio.load_safetensors(place, into=wider)
    assert strided["half"].equal(tensors["half"])
    assert wider["half"].equal(tensors["half"].float())


def test_parts_of_ranks_are_put_together_on_the_device(torch_gpu: Any, tmp_path: Path) -> None:
    whole = torch_gpu.arange(60.0).reshape(6, 10)
    for rank in range(2):
        part = s3dlio.TensorPart(whole[3 * rank : 3 * rank + 3].clone(), (3 * rank, 0), (6, 10))
        s3dlio.save_sharded_safetensors({"w": part}, tmp_path, rank=rank, world_size=2)
    assert gpu.load_safetensors(tmp_path)["w"].equal(whole)


def test_tensors_of_a_device_are_saved_as_those_of_the_host(torch_gpu: Any, model: Any, tmp_path: Path) -> None:
    place, tensors = model
    s3dlio.save_safetensors(tensors, tmp_path / "again", max_shard_size=8 * MIB)
    for file in place.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    transposed = tensors["half"].T
    gpu.put_from_device(transposed, tmp_path / "raw")
    expected = transposed.contiguous().view(torch_gpu.uint8).numpy().tobytes()
    assert (tmp_path / "raw").read_bytes() == expected


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_distributed_checkpoints_copy_tensors_of_a_device_by_pinned_memory(
    torch_gpu: Any, model: Any, tmp_path: Path, library: CudaLibrary
) -> None:
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    dcp = pytest.importorskip("s3dlio.checkpoint.dcp")
    _, tensors = model
    before = library.calls.count("cudaMemcpyAsync")
    checkpoint.save(dict(tensors), storage_writer=dcp.S3dlioStorageWriter(tmp_path / "dcp"))
    assert library.calls.count("cudaMemcpyAsync") - before >= len(tensors) - 1  # one is empty
    loaded = {name: torch_gpu.zeros_like(tensor) for name, tensor in tensors.items()}
    checkpoint.load(loaded, storage_reader=dcp.S3dlioStorageReader(tmp_path / "dcp"))
    assert all(loaded[name].equal(tensor) for name, tensor in tensors.items())


def test_torch_is_asked_for_a_gpu_only_where_one_is_named(library: CudaLibrary, model: Any) -> None:
    """torch without CUDA: the device is refused, and the host is as ever."""
    torch = pytest.importorskip("torch")
    place, tensors = model
    if torch.cuda.is_available():
        pytest.skip("torch has a GPU")
    assert same(s3dlio.load_safetensors(place, "pt", "cpu"), tensors)
    with pytest.raises(ConfigError, match="torch has no GPU"):
        gpu.load_safetensors(place)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_forked_child_leaves_the_device_alone(library: CudaLibrary) -> None:
    pool, copies = default_pool(), device_copies.device_copies()
    view = pool.lease(8 * MIB)
    device = bytearray(8 * MIB)
    s3dlio.forking.renewed_in_child(copies)
    copies.start(view, [(0, 8 * MIB, device_copies.address_of(memoryview(device)))], 0, 0)
    del view
    calls = len(library.calls)
    child = os.fork()
    if not child:
        pool.trim()
        copies.release()
        os._exit(len(library.calls) - calls or int(copies.slabs.nbytes > 0))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    copies.settle()
    assert library.registered


def test_nothing_of_it_is_imported_before_it_is_used() -> None:
    program = (
        "import sys, s3dlio; s3dlio.get\n"
        "sys.exit(any(name.startswith('s3dlio') and ('cuda' in name or 'device' in name or 'gpu' in name)"
        " for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
