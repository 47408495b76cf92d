"""``MultipartUploadWriter`` of the Rust package: a writer that is made of bucket and key."""

from __future__ import annotations

from typing import Self

from s3dlio import api
from s3dlio.engine.session import Session
from s3dlio.streams.multipart_writer import MultipartWriter
from s3dlio.uri import URI, in_bucket


class MultipartUploadWriter(MultipartWriter):
    """Writes an object in parts; of every store with :meth:`from_uri`.

    Args:
        bucket, key: of ``s3://``.
        part_size, max_in_flight, content_type, abort_on_drop: as of ``MultipartWriter``.
        client: whose settings and connections are used; None: the default client.
    """

    def __init__(
        self,
        bucket: str,
        key: str,
        part_size: int | None = None,
        max_in_flight: int | None = None,
        content_type: str | None = None,
        abort_on_drop: bool | None = None,
        *,
        client: Session | None = None,
    ) -> None:
        uri = in_bucket(bucket, key)
        super().__init__(
            client or api.default_client(), uri, part_size, max_in_flight, content_type, abort_on_drop
        )

    @classmethod
    def from_uri(
        cls,
        uri: URI,
        part_size: int | None = None,
        max_in_flight: int | None = None,
        content_type: str | None = None,
        abort_on_drop: bool | None = None,
        *,
        client: Session | None = None,
    ) -> Self:
        """A writer of the object at ``uri``, in any store; the others as of the class."""
        self = cls.__new__(cls)
        MultipartWriter.__init__(
            self, client or api.default_client(), uri, part_size, max_in_flight, content_type, abort_on_drop
        )
        return self
