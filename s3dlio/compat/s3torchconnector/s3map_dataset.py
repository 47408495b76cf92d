"""A data set of objects that are read in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch.utils.data

from s3dlio.compat.s3torchconnector.ahead import ReadAhead
from s3dlio.compat.s3torchconnector.datasets import S3DatasetBase
from s3dlio.compat.s3torchconnector.results import S3BucketKeyData
from s3dlio.errors import OutOfRangeError


class S3MapDataset(S3DatasetBase, torch.utils.data.Dataset):
    """Objects by their number. Made by ``from_prefix`` or ``from_objects``; listed when it is first used, once.

    The parameters are those of :class:`S3DatasetBase`.
    """

    _kind = "map"
    _bucket_key_pairs: list[S3BucketKeyData] | None = None

    @property
    def _dataset_bucket_key_pairs(self) -> list[S3BucketKeyData]:
        if self._bucket_key_pairs is None:
            self._bucket_key_pairs = list(self._objects())
        return self._bucket_key_pairs

    def __len__(self) -> int:
        return len(self._dataset_bucket_key_pairs)

    def __getitem__(self, i: int) -> Any:
        """The sample of an object; a negative number counts from the end.

        Raises:
            IndexError: there are fewer.
        """
        entry = self._entry(i)
        self._habit.give()
        return self._sample(entry, self._source(entry, self._habit.read))

    def __iter__(self) -> Iterator[Any]:
        """All samples, one by one. Without it, a loop would take an IndexError of a transform for the end."""
        return (self[i] for i in range(len(self)))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples of a batch: a DataLoader asks for them at once, so that they are read at the same time."""
        if type(self).__getitem__ is not S3MapDataset.__getitem__ or not self._reads_ahead:
            return [self[i] for i in indices]
        entries = [self._entry(i) for i in indices]
        return [self._sample(entry, source) for entry, source in ReadAhead(entries, self._habit, self._source)]

    def _entry(self, i: int) -> S3BucketKeyData:
        try:
            return self._dataset_bucket_key_pairs[i]
        except IndexError:
            raise OutOfRangeError(f"Index {i} out of range for dataset of size {len(self)}") from None
