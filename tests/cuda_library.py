"""A CUDA runtime without a GPU: it has the functions of libcudart, and does what was asked as late as it may.

A device's memory is that of the host. What was begun from pinned memory is done when somebody waits for it, so memory
that was given away too early has other bytes by then; from other memory it is done at once, as CUDA does.
"""

from __future__ import annotations

import ctypes
from typing import Any

NAMES = {
    1: "cudaErrorInvalidValue", 2: "cudaErrorMemoryAllocation", 100: "cudaErrorNoDevice", 600: "cudaErrorNotReady",
    700: "cudaErrorIllegalAddress", 712: "cudaErrorHostMemoryAlreadyRegistered",
    713: "cudaErrorHostMemoryNotRegistered",
}  # fmt: skip


class CudaLibrary:
    """Fails in what ``failing`` names: function -> the code of the error, or an interrupt."""

    def __init__(self, devices: int = 1) -> None:
        self.devices = devices
        self.failing: dict[str, int | type[BaseException]] = {}
        self.calls: list[str] = []
        self.registered: dict[int, int] = {}
        self.most_registered = 0
        self.allocated: dict[int, Any] = {}
        self.queue: list[tuple[int, int, int]] = []  # copies that are to be done
        self.done = 0
        self.events: dict[int, int] = {}  # handle -> how many copies were begun before
        self._handles = iter(range(1, 1 << 30))
        self._current = 0

    def _fails(self, function: str) -> int:
        self.calls.append(function)
        found = self.failing.get(function, 0)
        if not isinstance(found, int):
            raise found
        return found

    def _work(self, until: int) -> None:
        while self.done < until:
            ctypes.memmove(*self.queue[self.done])
            self.done += 1

    def cudaGetDeviceCount(self, out: Any) -> int:
        out[0] = self.devices
        return self._fails("cudaGetDeviceCount")

    def cudaGetDevice(self, out: Any) -> int:
        out[0] = self._current
        return self._fails("cudaGetDevice")

    def cudaSetDevice(self, device: int) -> int:
        self._current = device
        return self._fails("cudaSetDevice")

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        if code := self._fails("cudaHostRegister"):
            return code
        if any(address < begin + length and begin < address + size for begin, length in self.registered.items()):
            return 712
        self.registered[address] = size
        self.most_registered = max(self.most_registered, sum(self.registered.values()))
        return 0

    def cudaHostUnregister(self, address: int) -> int:
        code = self._fails("cudaHostUnregister")
        return code or (0 if self.registered.pop(address, None) else 713)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> int:
        if code := self._fails("cudaMemcpyAsync"):
            return code
        self.queue.append((target, source, size))
        host = source if kind == 1 else target
        if not any(begin <= host and host + size <= begin + length for begin, length in self.registered.items()):
            self._work(len(self.queue))
        return 0

    def cudaEventCreateWithFlags(self, out: Any, flags: int) -> int:
        out[0] = next(self._handles)
        self.events[out[0]] = 0
        return self._fails("cudaEventCreateWithFlags")

    def cudaEventRecord(self, event: int, stream: int) -> int:
        self.events[event] = len(self.queue)
        return self._fails("cudaEventRecord")

    def cudaEventQuery(self, event: int) -> int:
        return self._fails("cudaEventQuery") or (0 if self.done >= self.events[event] else 600)

    def cudaEventSynchronize(self, event: int) -> int:
        if code := self._fails("cudaEventSynchronize"):
            return code
        self._work(self.events[event])
        return 0

    def cudaEventDestroy(self, event: int) -> int:
        del self.events[event]
        return 0

    def cudaStreamSynchronize(self, stream: int) -> int:
        if code := self._fails("cudaStreamSynchronize"):
            return code
        self._work(len(self.queue))
        return 0

    def cudaMalloc(self, out: Any, size: int) -> int:
        if code := self._fails("cudaMalloc"):
            return code
        memory = (ctypes.c_ubyte * size)()
        out[0] = ctypes.addressof(memory)
        self.allocated[out[0]] = memory
        return 0

    def cudaFree(self, address: int) -> int:
        self._work(len(self.queue))
        del self.allocated[address]
        return 0

    def cudaGetLastError(self) -> int:
        return 0

    def cudaGetErrorName(self, code: int) -> bytes:
        return NAMES[code].encode()

    def cudaGetErrorString(self, code: int) -> bytes:
        return b"as the test wants it"
