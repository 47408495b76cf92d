"""A data loader for DLIO: ``reader.data_loader_classname: s3dlio.integrations.dlio.data_loader.S3dlioDataLoader``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from dlio_benchmark.common.enumerations import DataLoaderType, DatasetType, Shuffle
from dlio_benchmark.data_loader.base_data_loader import BaseDataLoader

import s3dlio
from s3dlio.integrations.dlio.names import uri_of
from s3dlio.integrations.dlio.reader import S3dlioReader


class S3dlioDataLoader(BaseDataLoader):
    """Reads this rank's files ahead with s3dlio, without worker processes.

    DLIO's ``prefetch_size`` is how many files; 0: s3dlio decides.
    """

    def __init__(self, format_type: Any, dataset_type: Any, epoch_number: int) -> None:
        super().__init__(format_type, dataset_type, epoch_number, DataLoaderType.PYTORCH)
        self._is_training = dataset_type is DatasetType.TRAIN

    def read(self) -> None:
        """Nothing to prepare: which files an epoch has is known when it begins."""

    def next(self) -> Iterator[Any]:
        """The batches of an epoch; what is left over makes none."""
        super().next()
        reader = S3dlioReader(self.dataset_type, 0, self.epoch_number)
        batch = np.array([self._args.resized_image] * self.batch_size)
        groups = [(name, [index for _, index in group]) for name, group in groupby(self._samples(), itemgetter(0))]
        ahead = self._args.prefetch_size or None
        waiting = 0
        with closing(s3dlio.iter_many([uri_of(name) for name, _ in groups], prefetch=ahead)) as objects:
            for (_, data), (_, indices) in zip(objects, groups, strict=True):
                opened = reader.decode(data)
                for index in indices:
                    reader.sample(opened, index)
                    reader.preprocess()
                    waiting += 1
                    if waiting == self.batch_size:
                        waiting = 0
                        yield batch
        self.epoch_number += 1

    def _samples(self) -> list[tuple[str, int]]:
        """(file, index in it) of this rank, in the order of this epoch."""
        args = self._args
        by_thread = args.train_file_map if self._is_training else args.val_file_map
        by_index = args.train_global_index_map if self._is_training else args.val_global_index_map
        if not by_index:
            return [(name, index) for thread in sorted(by_thread) for _, name, index in by_thread[thread]]
        samples = [by_index[number] for number in sorted(by_index)]
        if args.sample_shuffle is not Shuffle.OFF:
            seed = args.seed + self.epoch_number if args.sample_shuffle is Shuffle.SEED else None
            order = np.random.default_rng(seed).permutation(len(samples))
            samples = [samples[position] for position in order]
        return samples

    def finalize(self) -> None:
        """Nothing is left after an epoch."""
