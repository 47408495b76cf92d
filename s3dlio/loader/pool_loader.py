"""Loaders that always give batches; those of a pool are made of what has arrived: a slow object holds up no batch."""

from __future__ import annotations

from typing import Self

from s3dlio.loader.bytes_loader import BytesLoader
from s3dlio.loader.dataset import Dataset, Options
from s3dlio.loader.options import LoaderOptions
from s3dlio.loader.pool_config import PoolConfig
from s3dlio.uri import URI


class UnifiedLoader(BytesLoader):
    """Batches for ``for`` and ``async for``: in their order, or as objects arrive, as ``loading_mode`` says.

    Args:
        dataset: the objects.
        opts: options, see docs/loaders.md; default: those of the data set.

    Raises:
        ConfigError: (a ValueError) as of a loader.
    """

    def __init__(self, dataset: Dataset, opts: Options = None) -> None:
        options = LoaderOptions.from_any(getattr(dataset, "options", None) if opts is None else opts)
        super().__init__(dataset, options.replace(batch_size=options.batch_size))

    @classmethod
    def from_prefix(cls, uri: URI, opts: Options = None) -> Self:
        """Of the objects below a URI."""
        return cls(Dataset(uri, opts))

    def stream(self) -> Self:
        """The same, to be iterated over."""
        return self


class PoolLoader(UnifiedLoader):
    """Batches of what has arrived, for ``for`` and ``async for``.

    Args:
        dataset: the objects.
        opts: options, see docs/loaders.md; default: those of the data set.
        pool: how far it reads ahead; default: that of the options, else ``PoolConfig()``.

    Raises:
        ConfigError: (a ValueError) as of a loader.
    """

    def __init__(self, dataset: Dataset, opts: Options = None, pool: PoolConfig | None = None) -> None:
        super().__init__(dataset, opts)
        self.options = self.options.async_pool_loading(pool or self.options.values.pool)

    def stream_with_pool(self, pool: PoolConfig) -> Self:
        """The same with another pool."""
        return type(self)(self.dataset, self.options, pool)


AsyncPoolDataLoader = PoolLoader
UnifiedDataLoader = UnifiedLoader
