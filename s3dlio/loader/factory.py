"""The loader for a URI."""

from __future__ import annotations

from typing import Any

from s3dlio.loader.bytes_loader import BytesLoader
from s3dlio.loader.dataset import Dataset, Options
from s3dlio.loader.options import LoaderOptions
from s3dlio.signatures import also_named
from s3dlio.uri import URI


@also_named(prefix="uri", options="opts", decode_mode="decode")
def create_async_loader(uri: URI, opts: Options = None, **more: Any) -> BytesLoader:
    """A loader of the objects below a URI; of ``format="parquet"``, of their row groups.

    Args:
        uri: a directory, a prefix that ends in ``/``, a bucket, or a glob.
        opts: options, see docs/loaders.md.
        **more: options by name, which come before those of ``opts``.

    Raises:
        ObjectNotFoundError: nothing is there.
        ConfigError: (a ValueError) an unknown option, with the one that was probably meant, or a wrong value.
    """
    options = LoaderOptions.from_any(opts)
    if more:
        options = options.replace(**more)
    if options.values.format == "parquet":
        from s3dlio.loader.parquet_loader import parquet_loader  # most loaders need none

        return parquet_loader(uri, options)
    return BytesLoader(Dataset(uri, options))
