"""A data set of objects that are read one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import torch
import torch.utils.data

from s3dlio.compat.s3torchconnector.ahead import ReadAhead
from s3dlio.compat.s3torchconnector.config import S3ClientConfig
from s3dlio.compat.s3torchconnector.datasets import GetObjects, S3DatasetBase, also_by_prefix, identity
from s3dlio.compat.s3torchconnector.results import S3BucketKeyData
from s3dlio.compat.s3torchconnector.s3reader.protocol import S3ReaderConstructorProtocol
from s3dlio.compat.s3torchconnector.s3reader.s3reader import S3Reader


class S3IterableDataset(S3DatasetBase, torch.utils.data.IterableDataset):
    """Objects in the order of their names, or in the order that was given. Made by ``from_prefix`` or
    ``from_objects``; listed when it is iterated.

    Args:
        region, get_dataset_objects, endpoint, transform, s3client_config, reader_constructor: see
            :class:`S3DatasetBase`.
        enable_sharding: every rank, and every worker of its DataLoader, gets objects of its own; otherwise each gets
            all.
    """

    _kind = "iterable"

    @also_by_prefix
    def __init__(
        self,
        region: str | None,
        get_dataset_objects: GetObjects,
        endpoint: str | None = None,
        transform: Callable[[S3Reader], Any] = identity,
        s3client_config: S3ClientConfig | None = None,
        enable_sharding: bool = False,
        reader_constructor: S3ReaderConstructorProtocol | None = None,
    ) -> None:
        super().__init__(region, get_dataset_objects, endpoint, transform, s3client_config, reader_constructor)
        self._enable_sharding = enable_sharding
        self._rank, self._world_size = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self._rank = torch.distributed.get_rank()
            self._world_size = torch.distributed.get_world_size()

    def __iter__(self) -> Iterator[Any]:
        worker = torch.utils.data.get_worker_info()
        objects = self._of_rank()
        if self._enable_sharding and worker is not None:
            objects = islice(objects, worker.id, None, worker.num_workers)
        return self._samples(iter(objects))

    def __len__(self) -> int:
        """How many objects this rank has; they are listed for it."""
        return sum(1 for _ in self._of_rank())

    def _of_rank(self) -> Iterable[S3BucketKeyData]:
        if not self._enable_sharding:
            return self._objects()
        return islice(self._objects(), self._rank, None, self._world_size)

    def _samples(self, objects: Iterator[S3BucketKeyData]) -> Iterator[Any]:
        if self._reads_ahead:
            for entry, source in ReadAhead(objects, self._habit, self._source):
                yield self._sample(entry, source)
        else:
            for entry in objects:
                yield self._sample(entry, self._source(entry, self._habit.read))
