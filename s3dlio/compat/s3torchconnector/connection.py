"""What a client is connected by: a region, an endpoint and a configuration; it pickles by these."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from s3dlio.client import Client
from s3dlio.compat.s3torchconnector.config import S3ClientConfig, client_for
from s3dlio.compat.s3torchconnector.uris import container_of, uri_of
from s3dlio.stores.base import ObjectStore


class Connection:
    """Finds the stores of buckets. Safe to share among threads and to use in a forked child.

    Args:
        region, endpoint: of ``s3://``; None: as the settings say.
        config: see there.
    """

    def __init__(self, region: str | None, endpoint: str | None, config: S3ClientConfig) -> None:
        self.region = region
        self.endpoint = endpoint
        self.config = config

    @cached_property
    def session(self) -> Client:
        """Settings and threads, resolved when they are first needed."""
        return client_for(self.region, self.endpoint, self.config)

    def place(self, bucket: str, key: str) -> tuple[ObjectStore, str]:
        """The store of an object, and the key within it."""
        return self.session.store_for(uri_of(bucket, key))

    def container(self, bucket: str) -> tuple[ObjectStore, str]:
        """The store of a bucket, and what all of its keys begin with there."""
        uri = container_of(bucket)
        if not uri.endswith("://"):
            return self.session.store_for(uri)
        store, root = self.session.store_for(uri + "/")  # file://: keys are absolute paths
        return store, root[1:]

    def __reduce__(self) -> tuple[Any, ...]:
        return Connection, (self.region, self.endpoint, self.config)
