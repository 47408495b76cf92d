"""Samples with their URIs."""

from __future__ import annotations

from typing import Any, NamedTuple, SupportsIndex, overload

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


PyObjectItem = ObjectItem


class SampleItem(NamedTuple):
    """One sample of a loader that is something else than bytes: ``item.uri``, ``item.data``, or by these names."""

    uri: str
    data: Any

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            if index not in ("data", "uri"):
                raise KeyError(index)
            return getattr(self, index)
        return tuple.__getitem__(self, index)
