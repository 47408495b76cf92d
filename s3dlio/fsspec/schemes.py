"""File systems of one scheme each, with paths as fsspec's other ones have them, and their registration."""

from __future__ import annotations

import os
from typing import ClassVar

from fsspec.registry import register_implementation

from s3dlio.errors import ConfigError
from s3dlio.fsspec.filesystem import S3dlioFileSystem


class S3FileSystem(S3dlioFileSystem):
    """``s3://bucket/key``: paths and options as of s3fs."""

    protocol: ClassVar[str | tuple[str, ...]] = ("s3",)
    scheme = "s3"

    @classmethod
    def _inner(cls, text: str) -> str:
        return text.strip("/")


class AzureFileSystem(S3FileSystem):
    """``az://account/container/key``, or ``az://container/key`` where the account is configured."""

    protocol: ClassVar[str | tuple[str, ...]] = ("az", "azure")
    scheme = "az"


class GcsFileSystem(S3FileSystem):
    """``gs://bucket/key``."""

    protocol: ClassVar[str | tuple[str, ...]] = ("gs", "gcs")
    scheme = "gs"


class FileFileSystem(S3dlioFileSystem):
    """``file:///path``: local files."""

    protocol: ClassVar[str | tuple[str, ...]] = ("file", "local")
    scheme = "file"
    root_marker = "/"

    @classmethod
    def _inner(cls, text: str) -> str:
        path = os.path.abspath(os.path.expanduser(text) if text.startswith("~") else text)
        return "/" + path.lstrip("/")


class DirectFileSystem(FileFileSystem):
    """``direct:///path``: local files past the page cache."""

    protocol: ClassVar[str | tuple[str, ...]] = ("direct",)
    scheme = "direct"


#: By the names that can be registered.
_CLASSES: dict[str, type[S3dlioFileSystem]] = {
    "s3dlio": S3dlioFileSystem,
    "s3": S3FileSystem,
    "az": AzureFileSystem,
    "azure": AzureFileSystem,
    "gs": GcsFileSystem,
    "gcs": GcsFileSystem,
    "file": FileFileSystem,
    "direct": DirectFileSystem,
}


def register(*schemes: str) -> None:
    """Have fsspec open these schemes by s3dlio, in this process: ``fsspec.open("s3://bucket/key")``, and what pandas,
    dask and others open with it.

    Args:
        *schemes: any of ``s3``, ``az``, ``azure``, ``gs``, ``gcs``, ``file``, ``direct``; default: all but ``file``.

    Raises:
        ConfigError: another scheme; nothing is changed then.
    """
    for scheme in schemes:
        if scheme not in _CLASSES:
            raise ConfigError(f"{scheme!r} is no scheme of s3dlio", hint=f"use any of {', '.join(_CLASSES)}")
    for scheme in schemes or [each for each in _CLASSES if each != "file"]:
        register_implementation(scheme, _CLASSES[scheme], clobber=True)
