"""Paths of universal_pathlib over every store: ``UPath("s3dlio://s3/bucket/key")``."""

from __future__ import annotations

from upath import UPath
from upath.implementations.cloud import CloudPath


class S3dlioPath(CloudPath):
    """A path of ``s3dlio://``."""

    __slots__ = ()


class DirectPath(UPath):
    """A path of ``direct://``: a local file past the page cache."""

    __slots__ = ()
