"""A reader for DLIO: ``reader.reader_classname: s3dlio.integrations.dlio.reader.S3dlioReader``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from dlio_benchmark.reader.reader_handler import FormatReader

import s3dlio
from s3dlio.integrations.dlio.names import uri_of
from s3dlio.memory.reader import BytesReader


class S3dlioReader(FormatReader):
    """Reads DLIO's files with s3dlio, one when it is asked for, and decodes what NumPy and Pillow read.

    NPZ and NPY become arrays, JPEG and PNG images; of the other formats the bytes are read.
    """

    def __init__(self, dataset_type: Any, thread_index: int, epoch: int) -> None:
        super().__init__(dataset_type, thread_index)

    def open(self, filename: str) -> Any:
        """Read a file whole."""
        super().open(filename)
        return self.decode(s3dlio.get(uri_of(filename)))

    def decode(self, data: Any) -> Any:
        """An array of the bytes of a file."""
        kind = str(self._args.format)
        if kind in ("npz", "npy"):
            loaded = np.load(BytesReader(data))
            return loaded["x"] if kind == "npz" else loaded
        if kind in ("jpeg", "png"):
            from PIL import Image

            return np.asarray(Image.open(BytesReader(data)))
        return np.frombuffer(data, dtype=np.uint8)

    def get_sample(self, filename: str, sample_index: int) -> None:
        """Take a sample. DLIO trains on an array of its own in place of it."""
        super().get_sample(filename, sample_index)
        self.sample(self.open_file_map[filename], sample_index)

    def sample(self, opened: Any, sample_index: int) -> Any:
        """A sample of a file that was read: arrays have samples as their last axis."""
        return opened[..., sample_index] if str(self._args.format) in ("npz", "npy") else opened

    def close(self, filename: str) -> None:
        """Nothing is held open."""
        super().close(filename)

    def next(self) -> Iterator[Any]:
        """The batches of this thread."""
        yield from super().next()

    def read_index(self, image_idx: int, step: int) -> Any:
        """A sample by its index."""
        return super().read_index(image_idx, step)

    def finalize(self) -> None:
        """Let go of what was read."""
        self.open_file_map.clear()

    def is_index_based(self) -> bool:
        """Yes."""
        return True

    def is_iterator_based(self) -> bool:
        """Yes."""
        return True
