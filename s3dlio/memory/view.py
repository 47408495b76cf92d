"""BytesView: the bytes of an object as the user holds them, in the memory they were received in."""

from __future__ import annotations

import ctypes
import functools
import operator
import sys
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, SupportsIndex, TypeVar, overload

from s3dlio.memory.buffers import byte_view, hide_from_collector
from s3dlio.types import Payload

P = ParamSpec("P")
T = TypeVar("T")

_COMPARED_AT_ONCE = 256 << 10  # fits a core's cache, so the copies that bytes' fast comparison needs cost little

# CPython up to 3.12.6 crashes when the garbage collector takes apart a memoryview that others have a buffer of
# (python/cpython#77894; 3.11 stays so). No BytesView may expose a memoryview of its own to that: see both branches.
if sys.version_info >= (3, 12):
    _HIDE = sys.version_info < (3, 12, 7)

    class _Exporter:
        """An object with a buffer (PEP 688)."""

        __slots__ = ("__weakref__", "_view")
        _view: memoryview

        def __new__(cls, buffer: Payload, view: memoryview) -> _Exporter:
            self = object.__new__(cls)
            self._view = view
            if _HIDE:
                hide_from_collector(self)  # and with it what only it refers to: its memoryview
            return self

        def __buffer__(self, flags: int) -> memoryview:
            return self._view

    def _over_bytes(cls: Any, buffer: bytes) -> Any:
        return _Exporter.__new__(cls, buffer, memoryview(buffer))

    def _part_of(cls: Any, view: memoryview) -> Callable[[int, int], Any]:
        def part(start: int, stop: int) -> Any:
            shown = view[start:stop]
            return _Exporter.__new__(cls, shown, shown)

        return part
else:
    from _pickle import PickleBuffer  # what ``pickle`` has under this name, without the rest of that module

    # Before PEP 688 a class written in Python cannot export a buffer. PickleBuffer forwards the request, in C, to the
    # object it wraps, and is all that we need but for one bit in its type: "may be a base class". CPython 3.11 gets no
    # new features, so its object layout is final; the word is compared with what the interpreter says of it all the
    # same, and the bit is put back at once. (The alternatives: a numpy array as the view, or a compiled extension.)
    _FLAGS_OFFSET = 21 * ctypes.sizeof(ctypes.c_void_p)  # tp_flags in Include/cpython/object.h: after 21 words
    _MAY_BE_BASE = 1 << 10  # Py_TPFLAGS_BASETYPE in Include/object.h

    class _Absent:
        """Hides a method of PickleBuffer: letting go of the memory by hand would break the views that share it."""

        def __get__(self, instance: object, owner: type | None = None) -> Any:
            raise AttributeError("a BytesView has no such method; the memory is given back when the last view is gone")

    def _subclassable_pickle_buffer() -> type[PickleBuffer]:
        supported = sys.implementation.name == "cpython"
        flags = ctypes.c_ulong.from_address(id(PickleBuffer) + _FLAGS_OFFSET) if supported else None
        if flags is None or flags.value != PickleBuffer.__flags__:
            raise ImportError("on Python 3.11 s3dlio needs CPython; from Python 3.12 on any Python will do")
        flags.value |= _MAY_BE_BASE
        try:
            return type("_PickleBuffer", (PickleBuffer,), {"__slots__": (), "raw": _Absent(), "release": _Absent()})
        finally:
            flags.value &= ~_MAY_BE_BASE

    @functools.cache
    def _numpy() -> tuple[Callable[..., Any], Any]:
        import numpy

        return numpy.frombuffer, numpy.dtype("u1")

    class _Exporter(_subclassable_pickle_buffer()):  # type: ignore[misc]
        """An object with a buffer: that of `bytes`, or else of an array over the same memory.

        What takes a buffer of it then refers to the array. Of the objects that can show a part of foreign memory
        read-only there are two, and an array, unlike a memoryview, is nothing that the collector would take apart.
        """

        __slots__ = ()
        #: Made when it is asked for: a view that is only handed on is one object for the collector, and not three.
        _view: memoryview = property(memoryview)  # type: ignore[assignment]

        def __new__(cls, buffer: Payload, view: memoryview) -> Any:
            if type(buffer) is bytes:
                return _pickle_buffer(cls, buffer)
            if not view:
                return _pickle_buffer(cls, b"" if view.readonly else bytearray())
            frombuffer, dtype = _numpy()
            return _pickle_buffer(cls, frombuffer(view, dtype))

    def _part_of(cls: Any, view: memoryview) -> Callable[[int, int], Any]:
        frombuffer, dtype = _numpy()
        array = frombuffer(view, dtype)
        return lambda start, stop: _pickle_buffer(cls, array[start:stop])

    _pickle_buffer: Any = PickleBuffer.__new__  # as a call to super(), 0.1 us sooner
    _over_bytes: Any = _pickle_buffer


_new: Any = _Exporter.__new__


def _of_bytes(method: Callable[Concatenate[bytes, P], T]) -> Callable[Concatenate[BytesView, P], T]:
    """The method of `bytes`, on a copy of the view."""

    def on_copy(self: BytesView, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(bytes(self._view), *args, **kwargs)

    functools.update_wrapper(on_copy, method)
    on_copy.__qualname__, on_copy.__module__ = f"BytesView.{method.__name__}", "s3dlio"
    return on_copy


class BytesView(_Exporter):
    """An object's bytes without a copy: it behaves as `bytes` does and hands its memory to whoever takes buffers.

    ``memoryview(v)``, ``numpy.frombuffer(v, dtype)``, ``torch.frombuffer(v, dtype=...)``, ``file.write(v)``,
    ``hashlib.sha256(v)``, ``b"".join([v])``, ``io.BytesIO(v)`` all work on it directly. The memory is reused once the
    last view, slice, array or tensor over it is gone, and not before.

    Args:
        buffer: any contiguous bytes-like object; it is kept, not copied.
        writable: let consumers write through the view; `buffer` must be writable. Such a view has no hash.

    Raises:
        TypeError: `buffer` is not bytes-like, or holds Python objects or pointers.
        BufferError: `buffer` is not contiguous, or is read-only where `writable` is asked for.
    """

    __slots__ = ()

    def __new__(cls, buffer: Payload, *, writable: bool = False) -> BytesView:
        self: BytesView
        if type(buffer) is bytes and not writable:
            self = _over_bytes(cls, buffer)
            return self
        view = byte_view(buffer, writable=writable)
        self = _new(cls, buffer, view if writable else view.toreadonly())
        return self

    def memoryview(self) -> memoryview:
        """The same memory as a memoryview: format 'B', one dimension, read-only unless the view is writable."""
        return self._view[:]

    def to_bytes(self) -> bytes:
        """A copy, as `bytes`."""
        return bytes(self._view)

    __bytes__ = tobytes = to_bytes

    def __dlpack_device__(self) -> tuple[int, int]:
        """The memory of the host: ``kDLCPU``."""
        return 1, 0

    def __dlpack__(self, **options: Any) -> Any:
        """The memory as uint8 for ``torch.from_dlpack(view)`` and ``numpy.from_dlpack(view)``: no copy, and read-only
        to those that know that of DLPack (1.0).

        Raises:
            BufferError: the consumer, or numpy (before 2.1), knows no read-only memory.
        """
        import numpy

        array = numpy.frombuffer(self, numpy.uint8) if len(self) else numpy.empty(0, numpy.uint8)
        return array.__dlpack__(**options)

    def __len__(self) -> int:
        return len(self._view)

    @property
    def nbytes(self) -> int:
        """The number of bytes: what `len` says, under the name that arrays have for it."""
        return len(self._view)

    @property
    def readonly(self) -> bool:
        """Whether writing through the view is refused."""
        return self._view.readonly

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> BytesView: ...
    def __getitem__(self, index: SupportsIndex | slice) -> int | BytesView:
        """A byte as an int, or a part as a view of the same memory.

        A slice with a step is a view of a copy: nearly all that takes bytes takes them contiguous only.
        """
        if not isinstance(index, slice):
            return self._view[index]
        part = self._view[index]
        if not part.c_contiguous:
            return BytesView(bytearray(part), writable=not self.readonly)
        return BytesView(part, writable=not self.readonly)

    def __iter__(self) -> Iterator[int]:
        return iter(self._view)

    def __contains__(self, item: object) -> bool:
        """Whether a byte (an int) or a run of bytes is in it."""
        if isinstance(item, int):
            item = bytes((item,))
        return self.find(item) >= 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BytesView):
            return _same(self._view, other._view)
        if isinstance(other, (bytes, bytearray, memoryview)):
            view = memoryview(other)
            if view.format == "B" and view.ndim == 1:
                return _same(self._view, view)
            return self._view == view
        return NotImplemented

    def __lt__(self, other: Payload) -> bool:
        return self._compared(other, operator.lt)

    def __le__(self, other: Payload) -> bool:
        return self._compared(other, operator.le)

    def __gt__(self, other: Payload) -> bool:
        return self._compared(other, operator.gt)

    def __ge__(self, other: Payload) -> bool:
        return self._compared(other, operator.ge)

    def _compared(self, other: Payload, how: Callable[[bytes, bytes], bool]) -> bool:
        if not isinstance(other, (BytesView, bytes, bytearray)):
            return NotImplemented  # type: ignore[no-any-return]
        return how(bytes(self._view), bytes(other))

    def __add__(self, other: Payload) -> bytes:
        """The bytes of both, one after the other, in new memory; ``bytes + view`` works, too."""
        return b"".join((self._view, byte_view(other)))

    def __radd__(self, other: Payload) -> bytes:
        return b"".join((byte_view(other), self._view))

    def __mul__(self, times: SupportsIndex) -> bytes:
        return bytes(self._view) * times

    __rmul__ = __mul__

    def __hash__(self) -> int:
        """As of the same `bytes`, so that a view finds what bytes have put in a dict."""
        if not self.readonly:
            raise TypeError("a writable BytesView has no hash; use bytes(view)")
        return hash(bytes(self._view))

    # -- what bytes have: without a copy of the view up to endswith, of a copy from there on

    def find(self, sub: Payload | int, start: int | None = None, end: int | None = None) -> int:
        """The lowest index where `sub` (bytes, or one byte as an int) begins within ``[start:end]``, or -1."""
        import re

        part = self._part(start, end)
        if part is None:
            return -1
        wanted = bytes((sub,)) if isinstance(sub, int) else bytes(byte_view(sub))
        found = re.compile(re.escape(wanted)).search(self._view, *part)
        return found.start() if found else -1

    def index(self, sub: Payload | int, start: int | None = None, end: int | None = None) -> int:
        """As :meth:`find`, but where it is not found a ValueError."""
        found = self.find(sub, start, end)
        if found < 0:
            raise ValueError("subsection not found")
        return found

    def startswith(
        self, prefix: Payload | tuple[Payload, ...], start: int | None = None, end: int | None = None
    ) -> bool:
        """Whether ``[start:end]`` begins with `prefix`, or with one of several."""
        return self._meets(prefix, start, end, at_end=False)

    def endswith(
        self, suffix: Payload | tuple[Payload, ...], start: int | None = None, end: int | None = None
    ) -> bool:
        """Whether ``[start:end]`` ends with `suffix`, or with one of several."""
        return self._meets(suffix, start, end, at_end=True)

    def _meets(
        self, wanted: Payload | tuple[Payload, ...], start: int | None, end: int | None, *, at_end: bool
    ) -> bool:
        """Whether ``[start:end]`` has `wanted`, or one of several, at its end or else at its beginning."""
        if isinstance(wanted, tuple):
            return any(self._meets(one, start, end, at_end=at_end) for one in wanted)
        piece, part = byte_view(wanted), self._part(start, end)
        if part is None or part[1] - part[0] < len(piece):
            return False
        first = part[1] - len(piece) if at_end else part[0]
        return _same(self._view[first : first + len(piece)], piece)

    def _part(self, start: int | None, end: int | None) -> tuple[int, int] | None:
        """The bounds of ``[start:end]``; None where it begins beyond the end, where not even nothing is found."""
        first, stop, _ = slice(start, end).indices(len(self))
        beyond = (start or 0) > len(self) or first > stop
        return None if beyond else (first, stop)

    capitalize = _of_bytes(bytes.capitalize)
    center = _of_bytes(bytes.center)
    count = _of_bytes(bytes.count)
    expandtabs = _of_bytes(bytes.expandtabs)
    isalnum = _of_bytes(bytes.isalnum)
    isalpha = _of_bytes(bytes.isalpha)
    isascii = _of_bytes(bytes.isascii)
    isdigit = _of_bytes(bytes.isdigit)
    islower = _of_bytes(bytes.islower)
    isspace = _of_bytes(bytes.isspace)
    istitle = _of_bytes(bytes.istitle)
    isupper = _of_bytes(bytes.isupper)
    join = _of_bytes(bytes.join)
    ljust = _of_bytes(bytes.ljust)
    lower = _of_bytes(bytes.lower)
    lstrip = _of_bytes(bytes.lstrip)
    partition = _of_bytes(bytes.partition)
    removeprefix = _of_bytes(bytes.removeprefix)
    removesuffix = _of_bytes(bytes.removesuffix)
    replace = _of_bytes(bytes.replace)
    rfind = _of_bytes(bytes.rfind)
    rindex = _of_bytes(bytes.rindex)
    rjust = _of_bytes(bytes.rjust)
    rpartition = _of_bytes(bytes.rpartition)
    rsplit = _of_bytes(bytes.rsplit)
    rstrip = _of_bytes(bytes.rstrip)
    split = _of_bytes(bytes.split)
    splitlines = _of_bytes(bytes.splitlines)
    strip = _of_bytes(bytes.strip)
    swapcase = _of_bytes(bytes.swapcase)
    title = _of_bytes(bytes.title)
    translate = _of_bytes(bytes.translate)
    upper = _of_bytes(bytes.upper)
    zfill = _of_bytes(bytes.zfill)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text in it."""
        return str(self._view, encoding, errors)

    def hex(self, *args: Any) -> str:
        """Two hexadecimal digits a byte; arguments as of `bytes.hex`."""
        return self._view.hex(*args)

    def __repr__(self) -> str:
        return f"BytesView({len(self)} bytes)"

    def __copy__(self) -> BytesView:
        return self if self.readonly else self[:]

    def __deepcopy__(self, memo: dict[int, Any]) -> BytesView:
        return self if self.readonly else BytesView(bytearray(self._view), writable=True)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """By value; under protocol 5 the bytes may travel out of band, without a copy."""
        from pickle import PickleBuffer

        data = PickleBuffer(self._view) if int(protocol) >= 5 else bytes(self._view)
        return _unpickled, (data, not self.readonly)


def parts_of(buffer: memoryview) -> Callable[[int, int], BytesView]:
    """Makes read-only views of parts of one buffer, each from one offset to another: at half of what each costs alone.

    Args:
        buffer: bytes in one dimension, at least one.
    """
    return _part_of(BytesView, buffer.toreadonly())


def _unpickled(buffer: Payload, writable: bool) -> BytesView:
    if writable and memoryview(buffer).readonly:
        buffer = bytearray(buffer)
    return BytesView(buffer, writable=writable)


def _same(a: memoryview, b: memoryview) -> bool:
    """Whether two one-dimensional views hold the same bytes.

    memoryviews compare item by item; bytes compare by memcmp, so cache-sized pieces of one side are made bytes.
    """
    if len(a) != len(b):
        return False
    step = _COMPARED_AT_ONCE
    return all(bytes(a[i : i + step]).startswith(b[i : i + step]) for i in range(0, len(a), step))


BytesView.__module__ = "s3dlio"  # its public place: what help(), repr(type) and pickles name

if bytes(memoryview(BytesView(b"self-check"))) != b"self-check":
    raise ImportError("s3dlio.BytesView cannot export a buffer on this Python; please report the interpreter's version")
