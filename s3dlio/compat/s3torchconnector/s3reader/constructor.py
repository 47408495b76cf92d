"""How readers are chosen."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from s3dlio.compat.s3torchconnector.s3reader.dcp_optimized import (
    DEFAULT_MAX_GAP_SIZE,
    FALLBACK_GUIDANCE,
    DCPOptimizedS3Reader,
    ItemRange,
)
from s3dlio.compat.s3torchconnector.s3reader.protocol import S3ReaderConstructorProtocol
from s3dlio.compat.s3torchconnector.s3reader.ranged import RangedS3Reader
from s3dlio.compat.s3torchconnector.s3reader.s3reader import S3Reader
from s3dlio.compat.s3torchconnector.s3reader.sequential import SequentialS3Reader
from s3dlio.compat.s3torchconnector.uris import parse_s3_uri, uri_of


class DCPOptimizedConstructor:
    """Makes readers of a distributed checkpoint's files, of which the ranges are told beforehand.

    Args:
        max_gap_size: see :class:`DCPOptimizedS3Reader`.
    """

    def __init__(self, max_gap_size: int | float = DEFAULT_MAX_GAP_SIZE) -> None:
        if max_gap_size < 0:
            raise ValueError("max_gap_size must be non-negative")
        self._item_ranges_by_file: dict[str, list[ItemRange]] = {}
        self.max_gap_size = max_gap_size

    def set_item_ranges_by_file(
        self, plan_items: list[Any], storage_data: dict[Any, Any], base_path: str | os.PathLike[str]
    ) -> None:
        """Tell which ranges a load will read; those of an earlier load are forgotten.

        Args:
            plan_items: what is read.
            storage_data: where that is.
            base_path: of the checkpoint.
        """
        self._item_ranges_by_file = {}
        if plan_items and not storage_data:
            raise ValueError("storage_data must not be empty; required to map ReadItems to file ranges.")
        for item in plan_items:
            info = storage_data[item.storage_index]
            uri = os.path.join(os.fspath(base_path), info.relative_path)
            ranges = self._item_ranges_by_file.setdefault(uri, [])
            ranges.append(ItemRange(info.offset, info.offset + info.length))

    def __call__(self, bucket: str, key: str, get_object_info: Any, get_stream: Any) -> S3Reader:
        if key.endswith(".metadata"):
            return SequentialS3Reader(bucket, key, get_object_info, get_stream)
        wanted = bucket, key
        for uri, ranges in self._item_ranges_by_file.items():
            if parse_s3_uri(uri) == wanted:
                return DCPOptimizedS3Reader(
                    bucket, key, ranges, get_object_info, get_stream, max_gap_size=self.max_gap_size
                )
        raise ValueError(
            f"No ranges found for {uri_of(bucket, key)}. Make sure range injection is used in "
            f"'S3StorageReader.prepare_local_plan'.\n{FALLBACK_GUIDANCE}"
        )


class S3ReaderConstructor:
    """How an object is read; what these return is the ``reader_constructor`` of datasets, clients and readers."""

    @staticmethod
    def sequential() -> S3ReaderConstructorProtocol:
        """For all uses; see :class:`SequentialS3Reader`."""
        return partial(SequentialS3Reader)

    @staticmethod
    def range_based(buffer_size: int | None = None) -> S3ReaderConstructorProtocol:
        """For a few parts of large objects; see :class:`RangedS3Reader`.

        Args:
            buffer_size: bytes; None: 8 MiB; 0: no buffer.
        """
        return partial(RangedS3Reader, buffer_size=buffer_size)

    @staticmethod
    def dcp_optimized(max_gap_size: int | float = DEFAULT_MAX_GAP_SIZE) -> DCPOptimizedConstructor:
        """For loads of distributed checkpoints by ``S3StorageReader``.

        Args:
            max_gap_size: bytes between two ranges that are read and dropped, at most; ``float("inf")``: any number.
        """
        return DCPOptimizedConstructor(max_gap_size)

    @staticmethod
    def default() -> S3ReaderConstructorProtocol:
        """As :meth:`sequential`."""
        return S3ReaderConstructor.sequential()

    @staticmethod
    def get_reader_type_string(constructor: object) -> str:
        """``sequential``, ``range_based``, ``dcp_optimized``, or ``unknown`` of a function of the user's."""
        if constructor is None:
            return "sequential"
        if isinstance(constructor, DCPOptimizedConstructor):
            return "dcp_optimized"
        kinds: dict[Any, str] = {RangedS3Reader: "range_based", SequentialS3Reader: "sequential"}
        return kinds.get(constructor.func, "unknown") if isinstance(constructor, partial) else "unknown"
