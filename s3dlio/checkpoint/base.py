"""The base of checkpoints: a store and the prefix that all their objects have."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from s3dlio import api
from s3dlio.checkpoint.layout import RESERVED
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError, InvalidURIError
from s3dlio.memory.hashed import HashedSink, HashedSource
from s3dlio.memory.sinks import MemorySink
from s3dlio.memory.view import BytesView
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.local.atomic import sync_directory
from s3dlio.stores.local.store import LocalStore
from s3dlio.types import Conditions, ObjectMetadata, Payload, PutOptions, PutResult
from s3dlio.uri import URI, as_uri

#: What is written of a checkpoint is on the disk when the call returns; what is there already stays as it is.
NEW = PutOptions(durable=True, conditions=Conditions(if_none_match="*"))


class Base:
    """Objects below one URI, by names relative to it.

    Args:
        session: whose stores.
        uri: the base; with or without a slash at the end.
    """

    def __init__(self, session: Session, uri: URI) -> None:
        text = as_uri(uri)
        self.session = session
        self.store: ObjectStore
        self.store, key = session.store_for(text)
        self.prefix = key if not key or key.endswith("/") else key + "/"
        self._text = text.rstrip("/")

    @classmethod
    def of(cls, place: Base | URI) -> Base:
        """The base at a URI, with the default client; or the one that is given."""
        return place if isinstance(place, Base) else cls(api.default_client(), place)

    def __repr__(self) -> str:
        return self._text

    def key(self, name: str) -> str:
        return self.prefix + name

    def uri(self, name: str = "") -> str:
        return self.store.uri(self.prefix + name) if self.prefix + name else self._text

    def child(self, name: str) -> Base:
        """The base of the checkpoints that have a name of their own.

        Raises:
            ConfigError: the name leads elsewhere, or the base itself uses it.
        """
        return Base(self.session, f"{self._text}/{self._checked(name)}")

    def array_key(self, name: str) -> str:
        """The key of an array that is kept beside the checkpoints.

        Raises:
            ConfigError: as of :meth:`child`.
        """
        return self._checked(name) + ("" if name.endswith(".npy") else ".npy")

    def _checked(self, name: str) -> str:
        parts = name.split("/") if isinstance(name, str) else []
        if not parts or any(part in ("", ".", "..") or not part.isprintable() for part in parts):
            raise ConfigError(f"{name!r} cannot be the name of a checkpoint", uri=self.uri())
        if parts[0] in RESERVED:
            raise ConfigError(f"the name {parts[0]!r} is one that the layout of checkpoints uses", uri=self.uri())
        return name

    def read(self, name: str) -> tuple[BytesView, ObjectMetadata]:
        """An object and what the store tells of it."""
        sink = MemorySink()
        metadata = self.store.execute(self.store.read_call(self.key(name), sink))
        return sink.view(), metadata

    def read_hashed(self, name: str) -> tuple[BytesView, int]:
        """An object and its CRC32C."""
        sink = HashedSink()
        self.store.execute(self.store.read_call(self.key(name), sink))
        return sink.view(), sink.crc32c()

    def write(self, name: str, data: Payload, options: PutOptions = NEW) -> PutResult:
        return self.store.put(self.key(name), data, options=options)

    def write_hashed(self, name: str, data: memoryview) -> tuple[PutResult, int]:
        """Create an object; what the store answers, and the CRC32C of what was written."""
        source = HashedSource(data)
        # A cloud computes it of the parts that it sends.
        with source.hashed_meanwhile() if isinstance(self.store, LocalStore) else contextlib.nullcontext():
            result = self.store.execute(self.store.write_call(self.key(name), source, options=NEW))
        return result, source.crc32c()

    def head(self, name: str) -> ObjectMetadata:
        return self.store.head(self.key(name))

    def exists(self, name: str) -> bool:
        try:
            self.store.head(self.key(name))
        except FileNotFoundError:
            return False
        return True

    def delete(self, name: str) -> None:
        self.store.delete(self.key(name))

    def names(self, folder: str) -> Iterator[str]:
        """The names of all objects that begin with ``folder``."""
        for page in self.store.list(self.key(folder)):
            for key in page.keys:
                yield key[len(self.prefix) :]

    def sync(self, *folders: str) -> None:
        """Have the names in folders on the disk, and what was removed from them gone; object stores have done that."""
        if not isinstance(self.store, LocalStore):
            return
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):
                sync_directory(self.key(folder) or ".")

    def sync_above(self, names: Iterable[str]) -> None:
        """Have the folders that lead to objects on the disk: a process that made one may have died before it did so.
        A write does that for its own folder."""
        if not isinstance(self.store, LocalStore):
            return
        above = {""}
        for name in names:
            parts = name.split("/")
            above.update("/".join(parts[:end]) for end in range(1, len(parts) - 1))
        self.sync(*sorted(above))
        folder = os.path.abspath(self.prefix)
        while folder != (folder := os.path.dirname(folder)):
            with contextlib.suppress(PermissionError):  # then it was not made by this user
                sync_directory(folder)

    def relative(self, uri: URI) -> str:
        """The name of an object below the base.

        Raises:
            InvalidURIError: it is not below it.
        """
        store, key = self.session.store_for(uri)
        if store is not self.store or not key.startswith(self.prefix):
            raise InvalidURIError(f"it is not below {self._text}", uri=as_uri(uri))
        return key[len(self.prefix) :]
