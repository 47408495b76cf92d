"""The file system that torch's own readers and writers of distributed checkpoints stand on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch.distributed.checkpoint.filesystem import FileSystemBase

from s3dlio.compat.s3torchconnector._s3client import S3Client
from s3dlio.compat.s3torchconnector.config import S3ClientConfig
from s3dlio.compat.s3torchconnector.s3reader import S3ReaderConstructor, S3ReaderConstructorProtocol
from s3dlio.compat.s3torchconnector.uris import parse_s3_uri
from s3dlio.compat.s3torchconnector.user_agent import UserAgent
from s3dlio.errors import ObjectNotFoundError, S3dlioError
from s3dlio.uri import as_uri

log = logging.getLogger("s3dlio.checkpoint")


class S3FileSystem(FileSystemBase):
    """Objects of any scheme, as files of a checkpoint.

    Args:
        region: of ``s3://``; None: as the settings say.
        s3_client: the client; None: one of the other arguments.
        s3client_config: how the service is talked to.
        reader_constructor: how objects are read; see :class:`S3ReaderConstructor`.
    """

    def __init__(
        self,
        region: str | None = None,
        s3_client: S3Client | None = None,
        s3client_config: S3ClientConfig | None = None,
        reader_constructor: S3ReaderConstructorProtocol | None = None,
    ) -> None:
        self._path: str | os.PathLike[str] = ""
        self._reader_constructor = reader_constructor or S3ReaderConstructor.default()
        reads = S3ReaderConstructor.get_reader_type_string(self._reader_constructor)
        agent = UserAgent(["dcp", torch.__version__, f"md/reader_type#{reads}"])
        self._client = s3_client or S3Client(region, s3client_config=s3client_config, user_agent=agent)

    @property
    def client(self) -> S3Client:
        """The client that does the work."""
        return self._client

    @contextmanager
    def create_stream(self, path: str | os.PathLike[str], mode: str) -> Iterator[IO[Any]]:
        """A file to read (``rb``) or to write (``wb``); what is written is there after the block.

        Raises:
            ValueError: another mode, or no URI.
        """
        bucket, key = _place(path)
        stream: Any
        if mode == "wb":
            stream = self._client.put_object(bucket, key)
        elif mode == "rb":
            stream = self._client.get_object(bucket, key, reader_constructor=self._reader_constructor)
        else:
            raise ValueError(f"Invalid {mode=} mode argument: create_stream only supports rb (read) and wb (write)")
        with stream:
            yield stream

    def concat_path(self, path: str | os.PathLike[str], suffix: str) -> str:
        return os.path.join(os.fspath(path), suffix)

    def init_path(self, path: str | os.PathLike[str]) -> str | os.PathLike[str]:
        self._path = path
        return path

    def rename(self, path: str | os.PathLike[str], new_path: str | os.PathLike[str]) -> None:
        """Move an object, by a copy.

        Raises:
            ValueError: to another bucket.
            ObjectNotFoundError: there is none.
        """
        (bucket, key), (new_bucket, new_key) = _place(path), _place(new_path)
        if bucket != new_bucket:
            raise ValueError(
                "Source and destination buckets cannot be different "
                "(rename does not support cross-buckets operations)"
            )
        self._client.copy_object(bucket, key, new_bucket, new_key)
        self._client.delete_object(bucket, key)

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        """Nothing: writers make the directories of files, and stores have none."""

    def exists(self, path: str | os.PathLike[str]) -> bool:
        """Whether there is such an object.

        Raises:
            S3Exception: that cannot be found out.
        """
        try:
            self._client.head_object(*_place(path))
        except ObjectNotFoundError:
            return False
        return True

    def rm_file(self, path: str | os.PathLike[str]) -> None:
        """Remove an object; if that fails, it is logged, as s3torchconnector does."""
        try:
            self._client.delete_object(*_place(path))
        except S3dlioError:
            log.exception("an object could not be removed")

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether a checkpoint can lie there."""
        if isinstance(checkpoint_id, Path):
            return True
        try:
            _place(checkpoint_id)
        except (ValueError, TypeError):
            return False
        return True


def _place(path: str | os.PathLike[str]) -> tuple[str, str]:
    return parse_s3_uri(as_uri(path))
