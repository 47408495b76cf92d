"""The calls of the CUDA runtime that copies need, through ctypes: no package is needed, and no compiler.

The library is the one that is in the process already (torch brings its own), or the one that the system finds.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from s3dlio.errors import CudaError, MissingDependencyError, OutOfMemoryError

log = logging.getLogger("s3dlio.gpu")

#: From the header ``driver_types.h``.
_OUT_OF_MEMORY = 2
_NOT_READY = 600
_NEEDS_DEVICE = {
    "cudaErrorInitializationError": "a forked process cannot use the CUDA of its parent: start processes by spawn",
    "cudaErrorNoDevice": "this machine has no GPU, or CUDA_VISIBLE_DEVICES hides it",
    "cudaErrorInsufficientDriver": "install an NVIDIA driver, or one that is as new as the CUDA runtime",
}
_PORTABLE = 1  # cudaHostRegisterPortable: pinned for every device
_EVENT = 1 | 2  # cudaEventBlockingSync: who waits uses no CPU; cudaEventDisableTiming
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind

_POINTER, _SIZE, _INT, _UNSIGNED = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (_POINTER,),
    "cudaGetDevice": (_POINTER,),
    "cudaSetDevice": (_INT,),
    "cudaHostRegister": (_POINTER, _SIZE, _UNSIGNED),
    "cudaHostUnregister": (_POINTER,),
    "cudaMemcpyAsync": (_POINTER, _POINTER, _SIZE, _INT, _POINTER),
    "cudaEventCreateWithFlags": (_POINTER, _UNSIGNED),
    "cudaEventRecord": (_POINTER, _POINTER),
    "cudaEventQuery": (_POINTER,),
    "cudaEventSynchronize": (_POINTER,),
    "cudaEventDestroy": (_POINTER,),
    "cudaStreamSynchronize": (_POINTER,),
    "cudaMalloc": (_POINTER, _SIZE),
    "cudaFree": (_POINTER,),
    "cudaGetLastError": (),
    "cudaGetErrorName": (_INT,),
    "cudaGetErrorString": (_INT,),
}
_TEXTS = ("cudaGetErrorName", "cudaGetErrorString")


class Event:
    """A point in a stream of the device; it goes with its last reference. (In a forked child there is none.)"""

    __slots__ = ("_destroy", "_process", "handle")

    def __init__(self, handle: int, destroy: Any) -> None:
        self.handle = handle
        self._destroy = destroy
        self._process = os.getpid()

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        if getpid() == self._process:
            self._destroy(self.handle)


class CudaRuntime:
    """The runtime: every method raises what went wrong.

    Args:
        library: has the functions of libcudart.

    Raises (all methods):
        CudaError: a call failed; ``code`` is CUDA's name of the error.
        OutOfMemoryError: there is no memory on the device, or none to be pinned.
    """

    def __init__(self, library: Any) -> None:
        self._library = library

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            self._library.cudaGetLastError()  # else the next call of somebody else would find it
            raise self._error(code, function)

    def _error(self, code: int, function: str) -> CudaError | OutOfMemoryError:
        name = self._library.cudaGetErrorName(code).decode()
        text = self._library.cudaGetErrorString(code).decode()
        kind = OutOfMemoryError if code == _OUT_OF_MEMORY else CudaError
        return kind(f"{function}: {text}", code=name, hint=_NEEDS_DEVICE.get(name))

    def _made(self, function: str, *arguments: Any, kind: Any = ctypes.c_void_p) -> int:
        """What a function puts where its first argument points."""
        place = kind()
        self._call(function, ctypes.pointer(place), *arguments)
        return place.value or 0

    def device_count(self) -> int:
        """How many devices there are."""
        return self._made("cudaGetDeviceCount", kind=ctypes.c_int)

    @contextlib.contextmanager
    def on(self, device: int) -> Iterator[None]:
        """A device is that of this thread, for a while."""
        before = self._made("cudaGetDevice", kind=ctypes.c_int)
        if before == device:
            yield
            return
        try:
            self._call("cudaSetDevice", device)
            yield
        finally:
            self._call("cudaSetDevice", before)

    def register(self, address: int, size: int) -> None:
        """Pin host memory."""
        self._call("cudaHostRegister", address, size, _PORTABLE)

    def unregister(self, address: int) -> None:
        """Memory that was registered is as any other again."""
        self._call("cudaHostUnregister", address)

    def copy(self, target: int, source: int, size: int, kind: int, stream: int) -> None:
        """Begin a copy between host and device."""
        self._call("cudaMemcpyAsync", target, source, size, kind, stream)

    def record(self, stream: int) -> Event:
        """An event that passes when all that is in a stream by now is done. The device of the stream is current."""
        event = Event(self._made("cudaEventCreateWithFlags", _EVENT), self._library.cudaEventDestroy)
        self._call("cudaEventRecord", event.handle, stream)
        return event

    def passed(self, event: Event) -> bool:
        """Whether an event has passed."""
        code = self._library.cudaEventQuery(event.handle)
        if code:
            self._library.cudaGetLastError()
            if code != _NOT_READY:
                raise self._error(code, "cudaEventQuery")
        return not code

    def wait(self, event: Event) -> None:
        """Wait until an event has passed."""
        self._call("cudaEventSynchronize", event.handle)

    def synchronize(self, stream: int) -> None:
        """Wait until all that is in a stream of the current device is done."""
        self._call("cudaStreamSynchronize", stream)

    def allocate(self, size: int) -> int:
        """Memory of the current device."""
        return self._made("cudaMalloc", size)

    def free(self, address: int) -> None:
        """Give memory of a device back."""
        self._call("cudaFree", address)


@functools.cache
def cuda_runtime() -> CudaRuntime:
    """The runtime of this process.

    Raises:
        MissingDependencyError: there is no libcudart.
    """
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            for function, arguments in _SIGNATURES.items():
                declared = getattr(library, function)
                declared.argtypes = arguments
                declared.restype = ctypes.c_char_p if function in _TEXTS else ctypes.c_int
        except (OSError, AttributeError) as error:
            log.debug("%s is no CUDA runtime: %s", name, error)
            continue
        log.debug("the CUDA runtime is %s", name)
        return CudaRuntime(library)
    raise MissingDependencyError(
        "libcudart", "torch", "s3dlio.gpu", hint="install torch with CUDA, or the package nvidia-cuda-runtime"
    )


def _candidates() -> Iterator[str]:
    """Where the library may be: what is in the process first."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
            if "/libcudart" in line:
                yield line[line.index("/") :]
    torch = sys.modules.get("torch")
    version = str(getattr(getattr(torch, "version", None), "cuda", None) or "").partition(".")[0]
    names = [f"libcudart.so.{version}"] if version else []
    names += ["libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so"]
    yield from names
    for folder in sys.path:
        yield from map(str, sorted(Path(folder).glob("nvidia/*/lib/libcudart.so.*"), reverse=True))
    if found := ctypes.util.find_library("cudart"):
        yield found
    yield "/usr/local/cuda/lib64/libcudart.so"
