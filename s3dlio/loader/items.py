"""Samples with their URIs."""

from __future__ import annotations

from typing import Any, NamedTuple, SupportsIndex, overload

from s3dlio.errors import S3dlioError
from s3dlio.loader.entries import Entry, uri_of
from s3dlio.memory.view import BytesView


class ObjectItem(BytesView):
    """One object of a loader: its bytes, without a copy, and its URI.

    ``item.uri``, ``item.data`` (also ``item["data"]``), ``item.byte_count``; ``len(item)``, ``bytes(item)``,
    ``numpy.frombuffer(item)`` and all that a :class:`BytesView` does.

    Args:
        uri: of the object.
        data: its bytes.
    """

    __slots__ = ("data", "uri")
    uri: str
    #: The bytes, read-only.
    data: BytesView

    def __new__(cls, uri: str, data: BytesView) -> ObjectItem:
        self = super().__new__(cls, data)
        assert isinstance(self, ObjectItem)
        self.uri, self.data = uri, data
        return self

    @property
    def byte_count(self) -> int:
        """How many bytes there are."""
        return len(self)

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> BytesView: ...
    @overload
    def __getitem__(self, index: str) -> Any: ...
    def __getitem__(self, index: SupportsIndex | slice | str) -> Any:
        """A byte, a part, or one of ``data``, ``uri``, ``byte_count`` by its name."""
        if isinstance(index, str):
            if index not in ("data", "uri", "byte_count"):
                raise KeyError(index)
            return getattr(self, index)
        return super().__getitem__(index)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return ObjectItem, (self.uri, self.data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r}, {len(self)} bytes)"


class SampleItem(NamedTuple):
    """One sample that was made of bytes: ``item.uri``, ``item.data`` (also ``item["data"]``), and how many bytes it was
    made of."""

    uri: str
    data: Any
    byte_count: int

    def __getitem__(self, index: Any) -> Any:
        """One of ``data``, ``uri``, ``byte_count``, by its name or its place."""
        if isinstance(index, str):
            if index not in self._fields:
                raise KeyError(index)
            return getattr(self, index)
        return tuple.__getitem__(self, index)


def item_of(uri: str, data: Any, byte_count: int) -> ObjectItem | SampleItem:
    """A sample with its URI."""
    if isinstance(data, BytesView | bytes | bytearray | memoryview):
        return ObjectItem(uri, data if isinstance(data, BytesView) else BytesView(data))
    return SampleItem(uri, data, byte_count)


def name_sample(error: Exception, entry: Entry) -> None:
    """Have an error that making a sample raised tell of which.

    Raises:
        S3dlioError: it is a StopIteration, which loops would take for the end of the epoch.
    """
    if isinstance(error, StopIteration | StopAsyncIteration):
        raise S3dlioError(
            f"making the sample raised {type(error).__name__}", uri=uri_of(entry), operation="DECODE",
            hint="in a transform, give next() a default",
        ) from error  # fmt: skip
    if not isinstance(error, S3dlioError):
        error.add_note(f"while a sample was made of {entry}")


PyObjectItem = ObjectItem
