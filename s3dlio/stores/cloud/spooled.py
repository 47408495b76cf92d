"""A streaming write for transports that want to know the size first: the bytes wait in memory, then in a file."""

from __future__ import annotations

import os
import tempfile
from typing import IO

from s3dlio.errors import S3dlioError
from s3dlio.foreign_errors import local_error
from s3dlio.memory.sources import FileSource, MemorySource, Source, as_memory
from s3dlio.net import blocking
from s3dlio.net.cancellation import AbortScope, CancelScope
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.stores.cloud.store import CloudStore
from s3dlio.stores.writer import StoreWriter
from s3dlio.types import Payload, PutOptions, PutResult

_IN_MEMORY = 64 << 20


class SpooledWriter(StoreWriter):
    """Collects the bytes and stores them with one ``put`` of the store on close.

    Args:
        store: where.
        key: the object.
        options: content type, metadata, conditions, ...
    """

    def __init__(self, store: ObjectStore, key: str, options: PutOptions) -> None:
        self._store = store
        self._key = key
        self._options = options
        self._pid = os.getpid()
        self._scope: AbortScope | None = None  # while the object is stored
        self._failure: BaseException | None = None
        self._spool: IO[bytes] | None = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - abort closes it

    def write(self, data: Payload) -> int:
        view = as_memory(data)
        spool = self._opened()
        try:
            return spool.write(view)
        except BaseException as error:  # how much of it was taken is not known
            self._failure = error
            if not isinstance(error, OSError):
                raise
            self._failure = local_error(error, f"the spool file in {tempfile.gettempdir()}")
            self._failure.locate(self._store.uri(self._key), "PUT")
            raise self._failure from error

    def flush(self) -> None:
        self._opened()  # there are no parts that the service would take

    def close(self) -> PutResult:
        spool = self._opened()
        scope = self._scope = AbortScope()
        try:
            call = self._store.write_call(self._key, _source_of(spool), options=self._options)
            return scope.run(lambda scope: _execute(call, scope))
        finally:
            self._scope = None
            self.abort()

    def abort(self) -> None:
        if self._scope is not None:  # by a signal handler; what is being sent is read from the spool
            self._scope.cancel()
            return
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()

    def _opened(self) -> IO[bytes]:
        uri = self._store.uri(self._key)
        if self._spool is None:
            raise S3dlioError("the writer is closed", uri=uri, operation="PUT")
        self._check_process(self._pid, uri)
        if (failure := self._failure) is not None:
            self.abort()
            if isinstance(failure, Exception):
                raise failure
            raise S3dlioError("the writer is closed: a write was interrupted", uri=uri, operation="PUT") from failure
        return self._spool

    def __del__(self) -> None:
        if getattr(self, "_spool", None) is not None:
            self.abort()
            if os.getpid() == self._pid:
                self._dropped(self._store.uri(self._key))


def _execute(call: Call[PutResult], scope: CancelScope) -> PutResult:
    """Run it; what an SDK sends is not given up."""
    store = call.store
    if not isinstance(store, CloudStore):
        return call.run()
    result: PutResult = blocking.drive(call.steps(), store.width_of(call), call.spent, store.spare, scope)
    return result


def _source_of(spool: IO[bytes]) -> Source:
    size = spool.tell()
    spool.seek(0)
    if size <= _IN_MEMORY:
        return MemorySource(memoryview(spool.read()))
    spool.flush()
    return FileSource(spool.fileno(), 0, size)
