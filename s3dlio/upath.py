"""Paths of universal_pathlib over every store: ``UPath("s3dlio://s3/bucket/key")``."""

from __future__ import annotations

from typing import Any

from fsspec.registry import get_filesystem_class
from upath import UPath
from upath._flavour import WrappedFileSystemFlavour
from upath.implementations.cloud import CloudPath
from upath.registry import register_implementation

import s3dlio.fsspec  # noqa: F401 - registers the file systems


class S3dlioPath(CloudPath):
    """A path of ``s3dlio://``: its drive is the scheme, ``s3``, and its root the service."""

    __slots__ = ()
    parser: Any = WrappedFileSystemFlavour(
        get_filesystem_class("s3dlio"), netloc_is_anchor=True, supports_empty_parts=True
    )


class DirectPath(UPath):
    """A path of ``direct://``: a local file past the page cache."""

    __slots__ = ()
    parser: Any = WrappedFileSystemFlavour(get_filesystem_class("direct"))


# Also where this package was not installed, and so has no entry points.
register_implementation("s3dlio", S3dlioPath, clobber=True)
register_implementation("direct", DirectPath, clobber=True)
