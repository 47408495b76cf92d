"""What makes readers: the forms of functions that may be given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

from s3dlio.compat.s3torchconnector.results import HeadObjectResult, ObjectInfo
from s3dlio.compat.s3torchconnector.s3reader.dcp_optimized import ItemRange
from s3dlio.compat.s3torchconnector.s3reader.s3reader import S3Reader

GetObjectInfo = Callable[[], ObjectInfo | HeadObjectResult]


class GetStreamCallable(Protocol):
    """Gives the bytes from ``start`` to ``end`` (without one: to the end), in chunks."""

    def __call__(self, start: int | None = None, end: int | None = None) -> Iterator[bytes]: ...


@runtime_checkable
class S3ReaderConstructorProtocol(Protocol):
    """Makes a reader."""

    def __call__(
        self, bucket: str, key: str, get_object_info: GetObjectInfo, get_stream: GetStreamCallable
    ) -> S3Reader: ...


@runtime_checkable
class DCPS3ReaderConstructorProtocol(Protocol):
    """Makes readers that know which ranges of each file a load will read."""

    _item_ranges_by_file: dict[str, list[ItemRange]]

    def __call__(
        self, bucket: str, key: str, get_object_info: GetObjectInfo, get_stream: GetStreamCallable
    ) -> S3Reader: ...

    def set_item_ranges_by_file(
        self, plan_items: list[Any], storage_data: dict[Any, Any], base_path: str | os.PathLike[str]
    ) -> None: ...
