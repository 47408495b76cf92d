"""Arrays of numpy, torch and JAX as bytes, and back: types by the names that safetensors has for them.

No framework is imported before a value of it, or its name, is met.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from s3dlio.checkpoint.regions import bytes_of
from s3dlio.errors import BufferRefusedError, ConfigError, OutOfMemoryError
from s3dlio.formats.optional_packages import require
from s3dlio.memory.buffers import byte_view
from s3dlio.memory.pool import SMALL, default_pool

#: The names of frameworks, as safetensors' ``safe_open`` takes them.
FRAMEWORKS = {"pt": "pt", "torch": "pt", "np": "np", "numpy": "np", "jax": "jax", "flax": "jax"}

#: A type's name in numpy (with ml_dtypes), torch and JAX -> its name in safetensors.
DTYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "complex64": "C64", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3", "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ", "float4_e2m1fn_x2": "F4",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def framework(name: Any) -> str:
    """The short name of a framework: ``pt``, ``np`` or ``jax``.

    Raises:
        ConfigError: there is no such one.
    """
    found = FRAMEWORKS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigError(f"unknown framework {name!r}; known are {', '.join(FRAMEWORKS)}")
    return found


def is_torch(value: Any) -> bool:
    """Whether a value is a tensor of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_array(value: Any) -> bool:
    """Whether a value is an array of one of the frameworks (or a scalar of numpy)."""
    return is_torch(value) or (hasattr(value, "__array__") and hasattr(value, "dtype") and hasattr(value, "shape"))


def about(name: str, value: Any) -> tuple[str, tuple[int, ...]]:
    """The safetensors type and the shape of an array.

    Raises:
        ConfigError: it is no array, or of a type that safetensors does not have.
    """
    if not is_array(value):
        raise ConfigError(
            f"{name!r} is a {type(value).__name__}, no tensor", hint="keep what is no tensor in the metadata, as text"
        )
    dtype_name = str(value.dtype).removeprefix("torch.")
    dtype = DTYPES.get(_plain(value.dtype) if not is_torch(value) else dtype_name)
    if dtype is None:
        raise ConfigError(f"{name!r} has the type {dtype_name}, which safetensors does not have")
    shape = tuple(int(size) for size in value.shape)
    if dtype == "F4" and shape:  # torch counts the bytes, two elements each
        shape = *shape[:-1], shape[-1] * 2
    return dtype, shape


def _plain(dtype: Any) -> str:
    """The name of a numpy type; of little-endian ones and those of other byte order alike."""
    return str(getattr(dtype, "name", dtype))


def memory_of(name: str, value: Any) -> memoryview:
    """The bytes of an array, in C order and little-endian: its own memory where that is so, else a copy on the host.

    Raises:
        ConfigError: a tensor without plain memory (sparse, quantized, distributed, on the meta device).
    """
    if is_torch(value):
        return _memory_of_torch(name, value)
    import numpy as np

    array = np.asarray(value)
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    flat = np.ascontiguousarray(array).reshape(-1)
    return byte_view(flat.view(np.uint8)) if flat.size else memoryview(b"")


def _memory_of_torch(name: str, tensor: Any) -> memoryview:
    import torch

    if hasattr(tensor, "device_mesh"):
        raise ConfigError(
            f"{name!r} is a distributed tensor, of which this process has a part",
            hint="save what each process has with save_sharded_safetensors",
        )
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        raise ConfigError(f"{name!r} is a tensor without plain memory ({tensor.layout}, on {tensor.device})")
    if not tensor.numel():
        return memoryview(b"")
    plain = tensor.detach().resolve_conj().resolve_neg().to("cpu").contiguous().reshape(-1)
    return memoryview(plain.view(torch.uint8).numpy())


def array_over(memory: memoryview, dtype: str, shape: Sequence[int], kind: str, device: Any = None) -> Any:
    """An array over memory (numpy and torch: no copy), on a device where one is named.

    Args:
        memory: writable; the array keeps it.
        dtype: the type, as safetensors calls it.
        shape: the shape.
        kind: ``np``, ``pt`` or ``jax``.
        device: of torch or JAX; None: the host for torch, the default device for JAX.

    Raises:
        ConfigError: the framework has no such type.
    """
    if kind == "pt":
        return _torch_over(memory, dtype, shape, device)
    import numpy as np

    flat = np.frombuffer(memory, numpy_dtype(dtype)) if memory.nbytes else np.empty(0, numpy_dtype(dtype))
    array = flat.reshape(tuple(shape))
    if kind == "np":
        return array
    jax = require("jax", "jax", "an array of JAX")
    return jax.device_put(array, device)


def new_tensor(dtype: str, shape: Sequence[int], device: Any) -> Any:
    """A tensor of torch on a device, its content undefined.

    Raises:
        ConfigError: torch has no such type.
        OutOfMemoryError: the device has no memory for it.
    """
    torch = require("torch", "torch", "a tensor of torch")
    try:
        return torch.empty(_torch_shape(dtype, shape), dtype=torch_dtype(dtype), device=device)
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemoryError(f"{device} has no memory for a tensor of the shape {list(shape)}") from error


def _torch_shape(dtype: str, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape as torch has it, which counts the bytes of elements that are parts of those."""
    return (*shape[:-1], shape[-1] // 2) if dtype == "F4" else tuple(shape)


def _torch_over(memory: memoryview, dtype: str, shape: Sequence[int], device: Any) -> Any:
    torch = require("torch", "torch", "a tensor of torch")
    kind = torch_dtype(dtype)
    shape = _torch_shape(dtype, shape)
    if not memory.nbytes:
        return torch.empty(shape, dtype=kind, device=device)
    tensor = torch.frombuffer(memory, dtype=torch.uint8).view(kind).reshape(shape)
    return tensor if device is None else tensor.to(device)


def numpy_dtype(dtype: str) -> Any:
    """The numpy type of a safetensors type.

    Raises:
        ConfigError: numpy has none.
        MissingDependencyError: ml_dtypes has it, and is not installed.
    """
    import numpy as np

    name = _NAMES.get(dtype)
    if name is None or dtype == "F4":
        raise ConfigError(f"numpy has no type for {dtype} of safetensors", hint="load it with framework='pt'")
    if name.startswith(("bfloat", "float8")):
        return np.dtype(getattr(require("ml_dtypes", "jax", f"numpy's {name}"), name))
    return np.dtype(name)


def torch_dtype(dtype: str) -> Any:
    """The torch type of a safetensors type.

    Raises:
        ConfigError: this torch has none.
    """
    torch = require("torch", "torch", "a tensor of torch")
    found = getattr(torch, _NAMES.get(dtype, ""), None)
    if found is None:
        raise ConfigError(f"torch {torch.__version__} has no type for {dtype} of safetensors")
    return found


def check_type(dtype: str, kind: str) -> None:
    """Refuse a type that a framework does not have, before anything is read.

    Raises:
        ConfigError, MissingDependencyError: it does not.
    """
    if kind == "pt":
        torch_dtype(dtype)
        return
    found = numpy_dtype(dtype)
    if kind == "jax" and require("jax", "jax", "an array of JAX").dtypes.canonicalize_dtype(found) != found:
        raise ConfigError(f"JAX makes {found} shorter as it is configured", hint="set jax_enable_x64")


def writable_bytes(name: str, value: Any) -> Any:
    """The memory of an array, to be filled, as an array of bytes of as many dimensions; None where it cannot be filled
    in place: it is on a device, or its last dimension is not contiguous.

    Raises:
        BufferRefusedError: it cannot be written to.
    """
    if is_torch(value):
        import torch

        if hasattr(value, "device_mesh"):
            raise BufferRefusedError(f"{name!r} is a distributed tensor", hint="give its local part, or use DCP")
        tensor = value.detach()
        if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.is_conj() or tensor.is_neg():
            return None
        tensor = tensor.reshape(1) if not tensor.ndim else tensor
        return tensor.view(torch.uint8).numpy() if tensor.stride(-1) == 1 else None
    array = _writable_array(name, value)
    return bytes_of(array) if not array.ndim or array.strides[-1] == array.itemsize else None


def _writable_array(name: str, value: Any) -> Any:
    import numpy as np

    if not isinstance(value, np.ndarray) or not value.flags.writeable or value.dtype.byteorder == ">":
        raise BufferRefusedError(f"{name!r} ({type(value).__name__}) cannot be written to")
    return value


def copy_to(name: str, target: Any, found: Any) -> None:
    """Copy what was read to where it was asked for, which has another type, device or layout.

    Raises:
        BufferRefusedError: the target cannot be written to.
    """
    if is_torch(target):
        target.detach().copy_(found)
    else:
        _writable_array(name, target)[...] = found


def new_memory(size: int) -> memoryview:
    """Memory for ``size`` bytes of a tensor; pooled and aligned where it is large.

    Raises:
        OutOfMemoryError: there is no memory of that size.
    """
    try:
        return default_pool().lease(size) if size >= SMALL else memoryview(bytearray(size))
    except MemoryError as error:
        raise OutOfMemoryError(f"there is no memory for a tensor of {size} bytes") from error
