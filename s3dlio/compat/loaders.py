"""Data sets and loaders under older names."""

from __future__ import annotations

import warnings

from s3dlio.errors import InvalidURIError
from s3dlio.loader.bytes_loader import BytesLoader
from s3dlio.loader.dataset import Dataset, Options
from s3dlio.loader.iterators import AsyncBatches, ObjectItems, Views
from s3dlio.uri import URI, parse

PyBytesAsyncDataLoaderIter = AsyncBatches
PyAsyncDataLoaderIter = AsyncBatches
PyBytesDataLoaderSyncIter = Views
PyObjectDataLoaderSyncIter = ObjectItems


class PyS3Dataset(Dataset):
    """The objects below an ``s3://`` URI. Deprecated: ``create_dataset`` takes any.

    Raises:
        InvalidURIError: it is not ``s3://``.
        ObjectNotFoundError: nothing is there.
    """

    def __init__(self, uri: URI, opts: Options = None) -> None:
        _warn(type(self).__name__, "create_dataset(uri)")
        if parse(uri).scheme != "s3":
            raise InvalidURIError(
                f"{type(self).__name__} is for s3:// only", uri=str(uri), hint="create_dataset(uri) takes any scheme"
            )
        super().__init__(uri, opts)


PyS3DatasetCompat = PyS3Dataset


class PyS3AsyncDataLoader(BytesLoader):
    """A loader of the objects below a URI. Deprecated: ``create_async_loader`` is the same.

    Raises:
        ObjectNotFoundError: nothing is there.
    """

    def __init__(self, uri: URI, opts: Options = None) -> None:
        _warn(type(self).__name__, "create_async_loader(uri, opts)")
        super().__init__(Dataset(uri, opts))


PyS3AsyncDataLoaderCompat = PyS3AsyncDataLoader


def _warn(name: str, other: str) -> None:
    warnings.warn(f"{name} is deprecated: use {other}", DeprecationWarning, stacklevel=3)
