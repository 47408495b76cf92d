"""The client of s3torchconnector: objects by bucket and key."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from s3dlio.client import Client
from s3dlio.compat.s3torchconnector.config import S3ClientConfig
from s3dlio.compat.s3torchconnector.connection import Connection
from s3dlio.compat.s3torchconnector.results import HeadObjectResult, ListObjectStream, ObjectInfo, head_result
from s3dlio.compat.s3torchconnector.s3reader.constructor import S3ReaderConstructor
from s3dlio.compat.s3torchconnector.s3reader.protocol import S3ReaderConstructorProtocol
from s3dlio.compat.s3torchconnector.s3reader.s3reader import S3Reader
from s3dlio.compat.s3torchconnector.s3reader.sequential import SequentialS3Reader
from s3dlio.compat.s3torchconnector.s3writer import PutObjectStream, S3Writer
from s3dlio.compat.s3torchconnector.source import ObjectSource
from s3dlio.compat.s3torchconnector.uris import uri_of
from s3dlio.compat.s3torchconnector.user_agent import UserAgent

__all__ = ["S3Client", "S3ClientConfig"]


class S3Client:
    """Objects by bucket and key. Safe to share among threads and to use in a forked child; it pickles.

    Args:
        region: of ``s3://``; None: as the settings say.
        endpoint: of ``s3://``; None: as the settings say.
        s3client_config: see there.
        user_agent: what ``user_agent_prefix`` says.
    """

    def __init__(
        self,
        region: str | None = None,
        endpoint: str | None = None,
        s3client_config: S3ClientConfig | None = None,
        *,
        user_agent: UserAgent | None = None,
    ) -> None:
        self._config = s3client_config or S3ClientConfig()
        self._user_agent_prefix = (user_agent or UserAgent()).prefix
        self._connection = Connection(region, endpoint, self._config)

    @property
    def region(self) -> str | None:
        return self._connection.region

    @property
    def endpoint(self) -> str | None:
        return self._connection.endpoint

    @property
    def s3client_config(self) -> S3ClientConfig:
        return self._config

    @property
    def user_agent_prefix(self) -> str:
        return self._user_agent_prefix

    @property
    def session(self) -> Client:
        """The client of s3dlio that does the work."""
        return self._connection.session

    def get_object(
        self,
        bucket: str,
        key: str,
        start: int | None = None,
        end: int | None = None,
        *,
        object_info: ObjectInfo | HeadObjectResult | None = None,
        reader_constructor: S3ReaderConstructorProtocol | None = None,
    ) -> S3Reader:
        """A reader of an object. Nothing is asked for before something is read.

        Args:
            bucket, key: the object.
            start, end: only its bytes from ``start`` to ``end``, which is the last one.
            object_info: what is known of the object.
            reader_constructor: how it is read; see :class:`S3ReaderConstructor`.
        """
        source = ObjectSource(self._connection, bucket, key)
        if start is not None or end is not None:
            until = None if end is None else end + 1
            size = partial(self._size_between, bucket, key, start or 0, until)
            return SequentialS3Reader(bucket, key, size, partial(source, start or 0, until))
        return self.reader_of(source, bucket, key, object_info, reader_constructor)

    def reader_of(
        self, source: ObjectSource, bucket: str, key: str, object_info: ObjectInfo | HeadObjectResult | None,
        reader_constructor: S3ReaderConstructorProtocol | None,
    ) -> S3Reader:  # fmt: skip
        """A reader of a source."""
        about: Any = partial(self.head_object, bucket, key) if object_info is None else partial(_same, object_info)
        make = reader_constructor or S3ReaderConstructor.default()
        return make(bucket=bucket, key=key, get_object_info=about, get_stream=source)

    def source(self, bucket: str, key: str, **also: Any) -> ObjectSource:
        """What a reader of an object reads."""
        return ObjectSource(self._connection, bucket, key, **also)

    def _size_between(self, bucket: str, key: str, start: int, until: int | None) -> HeadObjectResult:
        found = self.head_object(bucket, key)
        size = found.size if until is None else min(until, found.size)
        return found._replace(size=max(0, size - start))

    def put_object(self, bucket: str, key: str, storage_class: str | None = None) -> S3Writer:
        """A writer of an object, which appears when it is closed.

        Args:
            bucket, key: the object.
            storage_class: kept with it, where the store has such.
        """
        store, at = self._connection.place(bucket, key)
        return S3Writer(PutObjectStream(store, at, bucket, key, storage_class))

    def list_objects(
        self, bucket: str, prefix: str = "", delimiter: str = "", max_keys: int = 1000
    ) -> ListObjectStream:
        """The objects whose key begins with ``prefix``, page by page; see :class:`ListObjectStream`."""
        return ListObjectStream(self._connection, bucket, prefix, delimiter, max_keys)

    def head_object(self, bucket: str, key: str) -> HeadObjectResult:
        """What the store knows of an object.

        Raises:
            ObjectNotFoundError: there is none.
        """
        return head_result(self.session.head(uri_of(bucket, key)))

    def delete_object(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        self.session.delete(uri_of(bucket, key))

    def copy_object(self, src_bucket: str, src_key: str, dst_bucket: str, dst_key: str) -> None:
        """Copy an object, within the service where that can be. Keys are taken as they are, unescaped.

        Raises:
            ObjectNotFoundError: there is none.
        """
        source, source_key = self._connection.place(src_bucket, src_key)
        target, key = self._connection.place(dst_bucket, dst_key)
        if target.copy(source, source_key, key) is None:
            with self.put_object(dst_bucket, dst_key) as writer, self.get_object(src_bucket, src_key) as reader:
                while piece := reader.read(io.DEFAULT_BUFFER_SIZE << 10):
                    writer.write(piece)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __repr__(self) -> str:
        return f"S3Client(region={self.region!r}, endpoint={self.endpoint!r})"


def _same(info: Any) -> Any:
    return info
