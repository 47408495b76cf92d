"""Memory that a writer lends to be filled, and stores from where it is."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from s3dlio.errors import OutOfMemoryError
from s3dlio.memory.pool import default_pool


class ReservedBuffer:
    """The owner of the memory behind a view that ``reserve`` returned (``view.obj``). It never moves, and is given back
    when the last view of it is gone and the writer has stored it."""

    _memory: memoryview

    def __repr__(self) -> str:
        return f"ReservedBuffer({len(self)} bytes)"

    def __len__(self) -> int:
        return ctypes.sizeof(self)  # type: ignore[arg-type]

    @staticmethod
    def new(size: int) -> memoryview:
        """A view of ``size`` zeroed bytes, page-aligned, writable, of format 'B'.

        Raises:
            OutOfMemoryError: there is no such memory.
        """
        try:
            lease = default_pool().lease(max(1, size))
        except MemoryError as error:
            raise OutOfMemoryError(f"there is no memory for {size} bytes", operation="PUT") from error
        owner = _type_of(size).from_buffer(lease)  # which keeps the lease
        ctypes.memset(ctypes.addressof(owner), 0, size)
        return memoryview(owner).cast("B") if size else memoryview(owner)


@functools.lru_cache(16)
def _type_of(size: int) -> Any:
    return type("ReservedBuffer", (ReservedBuffer, ctypes.c_ubyte * size), {"__module__": "s3dlio"})
