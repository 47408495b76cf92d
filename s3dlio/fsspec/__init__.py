"""File systems of fsspec over every store: ``s3dlio://s3/bucket/key``, and the schemes themselves once they are
registered."""

from __future__ import annotations

from s3dlio.fsspec import requirement as requirement
from s3dlio.fsspec.filesystem import S3dlioFileSystem
from s3dlio.fsspec.schemes import (
    AzureFileSystem,
    DirectFileSystem,
    FileFileSystem,
    GcsFileSystem,
    S3FileSystem,
    register,
)

register("s3dlio", "direct")  # also where this package was not installed, and so has no entry points

__all__ = [
    "AzureFileSystem",
    "DirectFileSystem",
    "FileFileSystem",
    "GcsFileSystem",
    "S3FileSystem",
    "S3dlioFileSystem",
    "register",
]
