"""Objects to the memory of a GPU, and back: through pinned memory of the pool, without a copy in between.

With torch, what comes is a tensor of it. Without it, the CUDA runtime (libcudart) is enough, and what comes is a
:class:`DeviceBuffer`, which CuPy, Numba, JAX and others take as ``__cuda_array_interface__``. docs/gpu.md says more.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from s3dlio import api
from s3dlio.checkpoint.device_tensors import (
    Stretch,
    Target,
    copy_to_device,
    device_pieces,
    read_to_device,
    tensor_pieces,
    torch_target,
)  # fmt: skip
from s3dlio.checkpoint.safetensors import load_safetensors as _load
from s3dlio.checkpoint.tensors import new_tensor
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, S3dlioError
from s3dlio.formats.optional_packages import require
from s3dlio.memory.buffers import byte_view
from s3dlio.memory.device_copies import MAX_PINNED, copies_so_far, device_copies
from s3dlio.transfer.places import destination_uri, place_uri
from s3dlio.types import NO_CONDITIONS, NO_OPTIONS, Conditions, Payload, PutOptions
from s3dlio.uri import URI

__all__ = [
    "MAX_PINNED", "DeviceBuffer", "device_count", "get_to_device", "load_safetensors", "pinned_bytes",
    "put_from_device", "release", "to_device",
]  # fmt: skip

log = logging.getLogger("s3dlio.gpu")


class DeviceBuffer:
    """Bytes in the memory of a GPU, for programs without torch: one dimension of uint8. It is freed with its last
    reference; what takes its ``__cuda_array_interface__`` has to keep it.

    Args:
        size: bytes.
        target: the device.

    Raises:
        OutOfMemoryError: the device has no memory of that size.
    """

    def __init__(self, size: int, target: Target) -> None:
        self.nbytes = size
        self.address = 0
        self.device = target.number
        self._cuda = target.copies.cuda
        with self._cuda.on(target.number):
            self.address = self._cuda.allocate(size) if size else 0

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": (self.nbytes,), "typestr": "|u1", "data": (self.address, False), "version": 3, "strides": None,
            "stream": None,
        }  # fmt: skip

    def __len__(self) -> int:
        return self.nbytes

    def __bytes__(self) -> bytes:
        """A copy, on the host."""
        target = _runtime_target(self.device)
        return b"".join(device_pieces(self.address, self.nbytes, target, self))

    def __repr__(self) -> str:
        return f"<DeviceBuffer of {self.nbytes} bytes on cuda:{self.device}>"

    def __del__(self) -> None:
        address, self.address = getattr(self, "address", 0), 0
        if address:
            try:
                self._cuda.free(address)
            except S3dlioError as error:  # at exit, and in forked processes
                log.debug("memory of a device could not be freed: %s", error)


def device_count() -> int:
    """How many GPUs the CUDA runtime has.

    Raises:
        MissingDependencyError: there is no CUDA runtime.
        CudaError: it does not work; ``code`` is CUDA's name of the error.
    """
    return device_copies().cuda.device_count()


def get_to_device(
    uri: URI, device: Any = None, *, max_in_flight: int = 64, client: Session | None = None
) -> Any:
    """Read an object into new memory of a GPU; all of it is there when this returns.

    Args:
        uri: the object.
        device: a number, ``"cuda:1"``, or a device of torch; None: the current one.
        max_in_flight: how many requests at a time, at most.
        client: whose settings count; None: the default client.

    Returns:
        A tensor of torch (one dimension of uint8), or a :class:`DeviceBuffer` where torch is not installed, or
        without CUDA.

    Raises:
        ObjectNotFoundError: there is no such object.
        ConfigError: `device` is no GPU.
        MissingDependencyError, CudaError: there is no CUDA runtime, or it does not work.
        OutOfMemoryError: the device has no memory for it.
        BatchError: parts could not be read, or copied.
    """
    session = client or api.default_client()
    text = place_uri(uri)
    store, key = session.store_for(text)
    target = _target(device)
    about = store.head(key)
    found, address = _new_memory(about.size, target)
    version = Conditions(if_match=about.etag) if about.etag else NO_CONDITIONS
    if about.size:
        stretch = Stretch(store, key, version, 0, about.size, address, found)
        read_to_device(session, [stretch], target, max_in_flight)
    return found


def to_device(data: Payload, device: Any = None) -> Any:
    """Copy bytes, such as a ``BytesView``, to new memory of a GPU; they are there when this returns. From memory of
    the pool, which is pinned for it, they go as fast as the bus does.

    Args:
        data: any contiguous bytes-like object.
        device: as of :func:`get_to_device`.

    Returns, raises:
        As of :func:`get_to_device`.
    """
    view = byte_view(data)
    target = _target(device)
    found, address = _new_memory(len(view), target)
    if view:
        copy_to_device(view, address, target)
    return found


def load_safetensors(
    uri: URI,
    device: Any = None,
    keys: Iterable[str] | None = None,
    *,
    max_in_flight: int = 64,
    client: Session | None = None,
) -> dict[str, Any]:
    """Load tensors of a safetensors file or directory to a GPU, as tensors of torch.

    Args:
        uri: a file, a directory, or its index.
        device: as of :func:`get_to_device`.
        keys: the names of those that are wanted; None: all.
        max_in_flight, client: as of :func:`get_to_device`.

    Returns:
        Name -> tensor.

    Raises:
        ConfigError: there is no tensor of a name, or `device` is no GPU.
        ObjectNotFoundError, CorruptDataError, BatchError: as of ``s3dlio.load_safetensors``.
    """
    return _load(uri, "pt", _target(device, needs_torch=True).device, names=keys, max_in_flight=max_in_flight,
                 client=client)  # fmt: skip


def put_from_device(
    array: Any, uri: URI, *, options: PutOptions = NO_OPTIONS, client: Session | None = None
) -> int:
    """Write the bytes of an array of a GPU as an object, which appears whole or not at all.

    Args:
        array: a tensor of torch, or a contiguous one with ``__cuda_array_interface__`` (CuPy, Numba, DeviceBuffer).
        uri: the object.
        options: content type, storage class and the like.
        client: whose settings count; None: the default client.

    Returns:
        How many bytes it has.

    Raises:
        ConfigError: it is no array of a GPU, or is not contiguous.
        CudaError: the device failed; nothing was stored.
        S3dlioError: as of ``s3dlio.put_bytes``.
    """
    session = client or api.default_client()
    store, key = session.store_for(destination_uri(uri))
    size, pieces = _pieces_of(array)
    with store.writer(key, options=options, expected_size=size) as writer:
        for piece in pieces:
            writer.write_owned(piece)
    return size


def pinned_bytes() -> int:
    """How many bytes of the pool are pinned now: ``MAX_PINNED`` (512 MiB) at most."""
    copies = copies_so_far()
    return copies.slabs.nbytes if copies else 0


def release() -> None:
    """Wait for copies that are under way, and let go of all pinned memory; what comes later pins anew. It is done at
    exit, too.

    Raises:
        CudaError: the device failed.
    """
    if copies := copies_so_far():
        copies.release()


def _target(device: Any, *, needs_torch: bool = False) -> Target:
    """The device that a caller means."""
    if needs_torch or "torch" in sys.modules or importlib.util.find_spec("torch"):
        require("torch", "torch", "a tensor on a GPU")
        found = torch_target("cuda" if device is None else device)
        if found is not None:
            return found
        if needs_torch:
            device_copies().cuda.device_count()  # it may say why
            raise ConfigError(f"torch has no GPU {device!r}", hint="install torch with CUDA")
    return _runtime_target(device)


def _runtime_target(device: Any) -> Target:
    """A device as the CUDA runtime alone has it."""
    name = "cuda:0" if device is None else str(device)
    number = name.removeprefix("cuda").removeprefix(":") or "0"
    if not number.isdecimal():
        raise ConfigError(f"{device!r} is no GPU", hint='give a number, or "cuda:0"')
    copies = device_copies()
    count = copies.cuda.device_count()
    if int(number) >= count:
        raise ConfigError(f"there is no GPU {number}, but {count}: they are numbered from 0")
    return Target(None, int(number), 0, copies)


def _new_memory(size: int, target: Target) -> tuple[Any, int]:
    """Bytes on the device: what the caller gets, and their address."""
    if target.device is None:
        buffer = DeviceBuffer(size, target)
        return buffer, buffer.address
    tensor = new_tensor("U8", (size,), target.device)
    return tensor, tensor.data_ptr()


def _pieces_of(array: Any) -> tuple[int, Iterator[memoryview]]:
    """The bytes of an array of a GPU: how many, and piece by piece."""
    pieces = tensor_pieces(array)
    if pieces is not None:
        return array.numel() * array.element_size(), pieces
    about = getattr(array, "__cuda_array_interface__", None)
    if about is None:
        raise ConfigError(f"a {type(array).__name__} is no array of a GPU", hint="put_bytes takes those of the host")
    if about.get("strides") is not None:
        raise ConfigError("this array of a GPU is not contiguous in C order", hint="give a contiguous copy of it")
    size = int(about["typestr"][2:]) * math.prod(about["shape"])
    target = _runtime_target(getattr(array, "device", None) if isinstance(array, DeviceBuffer) else None)
    stream = about.get("stream")
    if stream is not None:
        target = target._replace(stream=stream)
    return size, device_pieces(about["data"][0], size, target, array)
