"""What a bytes-like object is to this library: one dimension of bytes, where it lies in memory, and who keeps it."""

from __future__ import annotations

import ctypes
import re
from typing import Any

from s3dlio.errors import BufferRefusedError
from s3dlio.types import Payload


def byte_view(data: Payload, *, writable: bool = False) -> memoryview:
    """The bytes of any object with the buffer protocol, without a copy: format 'B', one dimension, contiguous.

    Args:
        data: bytes, bytearray, memoryview, BytesView, an array of any shape and number type, ...
        writable: the caller is going to write into it.

    Raises:
        TypeError: `data` has no buffer, or its items are Python objects or pointers.
        BufferError: the buffer is not contiguous in C order, or read-only where `writable` is asked for.
    """
    view = memoryview(data)
    if writable and view.readonly:
        raise BufferRefusedError(
            "Buffer must be writable: pass a bytearray, a writable array or a writable memoryview"
        )
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    if holds_addresses(view):
        raise TypeError(
            f'a buffer of Python objects or pointers (format "{view.format}") holds memory addresses, not data; '
            "convert it to a number type or to bytes first"
        )
    if not view.c_contiguous:
        raise BufferRefusedError(
            "the buffer is not contiguous in C order; pass a contiguous copy of it, such as bytes(data)"
        )
    if not view.nbytes:
        return memoryview(bytearray())  # cast() refuses shapes with a zero in them
    return view.cast("B")


def holds_addresses(view: memoryview) -> bool:
    """Whether its items are, or contain, Python objects or pointers. (Of a structure the fields' names do not count:
    ``T{<f:Offset:}``.)"""
    return any(code in _FIELD_NAME.sub("", view.format) for code in "OP&")


_FIELD_NAME = re.compile(":[^:]*:")


class _PyBuffer(ctypes.Structure):
    """`Py_buffer`, as in the C API manual ("Buffer Protocol", "Buffer structure"); the layout is part of the ABI."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = (ctypes.py_object, ctypes.c_void_p, ctypes.c_int)
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = (ctypes.c_void_p,)
_release_buffer.restype = None


def address_of(view: Any) -> int:
    """The address of the first byte of a contiguous buffer, read-only ones too (0.7 us).

    It holds while the caller keeps `view`: keep a memoryview, which also stops a bytearray from moving.

    Raises:
        TypeError: `view` has no buffer.
        BufferError: it is not contiguous.
    """
    raw = _PyBuffer()
    where = ctypes.addressof(raw)
    _get_buffer(view, where, 0)  # PyBUF_SIMPLE; pythonapi raises what the call raised
    address: int | None = raw.buf
    _release_buffer(where)
    return address or 0


#: Take an object out of the garbage collector's sight: it goes when its last reference goes, and not before (0.2 us).
#: For objects that keep memory alive and can be part of no cycle; the collector does the same to tuples of numbers.
hide_from_collector = ctypes.pythonapi.PyObject_GC_UnTrack
hide_from_collector.argtypes = (ctypes.py_object,)
hide_from_collector.restype = None
