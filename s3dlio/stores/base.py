"""The contract of every store: public verbs that are templates, and private ``_verb`` hooks that a store fills in.

A verb makes a :class:`Call`: one operation on one key, ready to run. There errors get their URI and operation, and
observers hear of it, once for all stores, for single calls and batches alike. A driver runs it:

- a *blocking* store (files, memory, SDK transports) does the work in its hook; the call runs on the calling thread;
- a *cloud* store's hook is a generator (``Steps``) that yields HTTP requests and does no I/O; ``net`` runs it,
  alone (``blocking``) or with many others on one thread (``lane``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, ClassVar, TypeVar

from s3dlio.errors import ProtocolError, S3dlioError
from s3dlio.memory.caller_buffer import let_go
from s3dlio.memory.sinks import BufferSink, MemorySink, Sink
from s3dlio.memory.sources import Source, as_source
from s3dlio.memory.view import BytesView
from s3dlio.net import system
from s3dlio.stores.call import Call
from s3dlio.stores.checks import check_range, unsupported, writable_memory
from s3dlio.stores.history import HistoryStore
from s3dlio.stores.paging import Paging
from s3dlio.stores.writer import PartOptions, StoreWriter, UploadState, part_options
from s3dlio.types import (
    NO_CONDITIONS,
    NO_OPTIONS,
    Conditions,
    Container,
    ListPage,
    ObjectMetadata,
    Payload,
    PutOptions,
    PutResult,
)

T = TypeVar("T")

#: Keys of a batch that failed, each with its error.
KeyErrors = list[tuple[str, S3dlioError]]


class ObjectStore(HistoryStore):
    """One container of objects. Cheap to make, safe to share among threads, usable in a forked child.

    Keys are data: any str but the empty one; stores add nothing and normalise nothing. Sizes and offsets are bytes.
    The parameters are those of :class:`s3dlio.stores.call.BaseStore`.
    """

    #: The metadata of a read are complete; otherwise only those of a head are.
    reads_return_metadata: ClassVar[bool] = True
    #: Reads may name the customer's key that the object is encrypted with.
    takes_customer_keys: ClassVar[bool] = False

    # -- reading

    def get(self, key: str, *, conditions: Conditions = NO_CONDITIONS) -> BytesView:
        """The whole object.

        Raises:
            ObjectNotFoundError, PermissionDeniedError, PreconditionFailedError, IntegrityError, ...
        """
        sink = MemorySink()
        self.execute(self.read_call(key, sink, conditions=conditions))
        return sink.view()

    def get_range(
        self, key: str, offset: int, length: int | None = None, *, conditions: Conditions = NO_CONDITIONS
    ) -> BytesView:
        """``length`` bytes from ``offset`` on, to the end without a length; clamped, so empty beyond the end.

        Raises:
            RangeNotSatisfiableError: a negative or absurd offset or length.
        """
        sink = MemorySink()
        self.execute(self.read_call(key, sink, offset=offset, length=length, conditions=conditions))
        return sink.view()

    def get_into(
        self, key: str, buffer: Any, *, exact: bool = True, conditions: Conditions = NO_CONDITIONS
    ) -> int:
        """Read the object into a writable buffer; returns its size.

        Raises:
            LengthMismatchError: the object does not fit, or is shorter while ``exact``; the buffer is untouched.
            BufferError: the buffer is read-only or not contiguous.
        """
        try:
            return self.fill(key, writable_memory(buffer), exact, conditions)
        except BaseException as error:
            let_go(error)
            raise

    def fill(self, key: str, view: memoryview, exact: bool, conditions: Conditions) -> int:
        """Read the object into memory that ``writable_memory`` has made of a buffer; see ``get_into``."""
        sink = BufferSink(view, exact=exact)
        try:
            self.execute(self.read_call(key, sink, conditions=conditions))
            return sink.size or 0
        finally:
            sink.release()

    def read_call(
        self, key: str, sink: Sink, *, offset: int = 0, length: int | None = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Call[ObjectMetadata]:  # fmt: skip
        """A read into ``sink``, of the whole object or of a range; its result is the metadata of the object.

        ``ObjectMetadata.size`` is the size of the whole object where the answer has it.
        """
        if conditions is NO_CONDITIONS:
            self.check_key(key, "GET")
        else:
            self._check_read(key, "GET", conditions)
        read = partial(self._read, key, sink, offset, length, conditions)
        if length is None and offset == 0:
            return Call(self, "GET", key, read, sink)
        check_range(self.uri(key), offset, length)
        call: Call[ObjectMetadata] = Call(self, "GET_RANGE", key, read, sink)
        call.range = offset, length
        return call

    def tail_call(
        self, key: str, sink: Sink, length: int, *, conditions: Conditions = NO_CONDITIONS
    ) -> Call[ObjectMetadata]:
        """A read of the last ``length`` bytes into ``sink``, of all bytes where there are fewer; the result is that of
        :meth:`read_call`."""
        self._check_read(key, "GET", conditions)
        check_range(self.uri(key), 0, length)
        return Call(self, "GET_RANGE", key, partial(self._read_tail, key, sink, length, conditions), sink=sink)

    def head(self, key: str, *, conditions: Conditions = NO_CONDITIONS) -> ObjectMetadata:
        """The metadata of the object, without its bytes."""
        return self.execute(self.head_call(key, conditions=conditions))

    def head_call(self, key: str, *, conditions: Conditions = NO_CONDITIONS) -> Call[ObjectMetadata]:
        self._check_read(key, "HEAD", conditions)
        return Call(self, "HEAD", key, partial(self._head, key, conditions))

    # -- writing

    def put(self, key: str, data: Payload, *, options: PutOptions = NO_OPTIONS) -> PutResult:
        """Store ``data`` as the object: whole, or not at all."""
        return self.execute(self.write_call(key, as_source(data), options=options))

    def put_call(self, key: str, data: Payload, *, options: PutOptions = NO_OPTIONS) -> Call[PutResult]:
        return self.write_call(key, as_source(data), options=options)

    def write_call(
        self, key: str, source: Source, *, options: PutOptions = NO_OPTIONS, resume: UploadState | None = None
    ) -> Call[PutResult]:
        """A write of all bytes of ``source``. With ``resume`` a large one resumes where an earlier one stopped; what
        is there of it stays after a failure, as far as the service has such a thing."""
        self.check_key(key, "PUT")
        if resume is not None:
            return Call(self, "PUT", key, partial(self._write_on, key, source, options, resume), size=source.size)
        return Call(self, "PUT", key, partial(self._write, key, source, options), size=source.size)

    def writer(
        self,
        key: str,
        *,
        options: PutOptions = NO_OPTIONS,
        part_size: int | None = None,
        expected_size: int | None = None,
        max_in_flight: int | None = None,
    ) -> StoreWriter:
        """A streaming write for an object whose size is not known yet.

        Args:
            key: the object.
            options: as of ``put``.
            part_size: bytes of every part but the last, where the store sends parts. Without it parts of a long stream
                grow, which some services refuse in the end.
            expected_size: bytes of the object, if it is known about: all parts are equal, and large enough for it.
            max_in_flight: parts on their way at a time, at most; None: as the settings say.

        Raises:
            ConfigError: a size or a number that cannot be; options that cannot be sent.
            UnsupportedOperationError: options that the store cannot keep.
        """
        self.check_key(key, "PUT")
        if options is not NO_OPTIONS:
            self.check_options(options)
        return self._writer(key, options, part_options(part_size, expected_size, max_in_flight))

    # -- listing

    def list(
        self, prefix: str = "", *, recursive: bool = True, start_after: str | None = None
    ) -> Iterator[ListPage]:
        """The objects whose key starts with ``prefix``, page by page, in the store's order.

        Not ``recursive``: keys with a ``/`` after the prefix are folded into ``ListPage.prefixes``.
        A page that fails raises: a listing is never silently short.
        """
        return self._pages(prefix, recursive, start_after)

    def list_page_call(
        self, prefix: str, recursive: bool, token: str | None, start_after: str | None = None
    ) -> Call[tuple[ListPage, str | None]]:
        """One page and the token of the next (None after the last)."""
        call: Call[tuple[ListPage, str | None]] = Call(
            self, "LIST", prefix, lambda: self._list_page(prefix, recursive, token, start_after)
        )
        call.objects = 0
        return call

    def _pages(self, prefix: str, recursive: bool, start_after: str | None) -> Iterator[ListPage]:
        token: str | None = None
        paging = Paging()
        spent = 0.0
        while True:
            call = self.list_page_call(prefix, recursive, token, start_after)
            call.spent, begun = spent, system.monotonic()
            page, token = self.execute(call)
            spent += system.monotonic() - begun  # what the caller does between two pages does not count
            try:
                paging.check(page.keys or page.prefixes, token)
            except ProtocolError as error:
                error.locate(self.uri(prefix), "LIST")
                raise
            yield page
            if token is None:
                return

    # -- deleting, copying

    def delete(self, key: str, *, version_id: str | None = None) -> None:
        """Remove the object; one that is not there is no error."""
        self.execute(self.delete_call(key, version_id=version_id))

    def delete_call(self, key: str, *, version_id: str | None = None, if_match: str | None = None) -> Call[None]:
        """A delete; with ``if_match`` only of the object that has this ETag, else a PreconditionFailedError."""
        self.check_key(key, "DELETE")
        if if_match is not None:
            return Call(self, "DELETE", key, lambda: self._delete_if_match(key, if_match))
        return Call(self, "DELETE", key, lambda: self._delete(key, version_id))

    #: How many keys one ``delete_many_call`` takes.
    delete_batch_size: ClassVar[int] = 1000

    def delete_many(self, keys: Iterable[str]) -> KeyErrors:
        """Remove many objects; returns the keys that failed, each with its error."""
        failed: KeyErrors = []
        left = iter(keys)
        while batch := tuple(islice(left, self.delete_batch_size)):
            refused: KeyErrors = self.execute(self.delete_many_call(batch))
            failed += refused
        return failed

    def delete_many_call(self, keys: Sequence[str]) -> Call[KeyErrors]:
        """A batch delete of at most ``delete_batch_size`` keys; its result: the keys that failed and why."""
        for key in keys:
            self.check_key(key, "DELETE")
        call: Call[KeyErrors] = Call(self, "DELETE_BATCH", "", lambda: self._delete_many(keys))
        call.objects = len(keys)
        return call

    def copy(
        self, source: ObjectStore, source_key: str, key: str, *, options: PutOptions = NO_OPTIONS
    ) -> PutResult | None:
        """Copy ``source_key`` of ``source`` to ``key`` inside the service; None where it cannot be done there.

        The copy keeps metadata and content fields of its source where ``options`` say nothing else.
        """
        if not self.can_copy_from(source):
            return None
        return self.execute(self.copy_call(source, source_key, key, options=options))

    def can_copy_from(self, source: ObjectStore) -> bool:
        """Whether the service itself can copy from ``source``'s container into this one."""
        return type(source) is type(self)

    def copy_call(
        self, source: ObjectStore, source_key: str, key: str, *, options: PutOptions = NO_OPTIONS,
        size: int | None = None,
    ) -> Call[PutResult]:  # fmt: skip
        """A copy; ``size`` is that of the source in bytes, where it is known: large objects may be copied in parts."""
        self.check_key(key, "COPY")
        source.check_key(source_key, "COPY")
        return Call(self, "COPY", key, lambda: self._copy_sized(source, source_key, key, options, size))

    # -- what only some services can do; elsewhere it is an UnsupportedOperationError

    def can_rename(self, source_key: str, key: str) -> bool:
        """Whether the service can rename this object within the container, which is one step and moves no bytes."""
        return False

    def rename_call(self, source_key: str, key: str) -> Call[None]:
        """Rename an object; one that is there already is replaced."""
        raise unsupported(self, source_key, "rename objects")

    def presign(self, key: str, method: str = "GET", expires: int = 3600, *, version_id: str | None = None) -> str:
        """A URL with which anybody can do ``method`` on the object for ``expires`` seconds."""
        raise unsupported(self, key, "make presigned URLs")

    def get_tags(self, key: str) -> dict[str, str]:
        """The tags of an object."""
        self.check_key(key, "GET_TAGS")
        return self.execute(Call(self, "GET_TAGS", key, lambda: self._get_tags(key)))

    def put_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of an object."""
        self.check_key(key, "PUT_TAGS")
        self.execute(Call(self, "PUT_TAGS", key, lambda: self._put_tags(key, tags)))

    def remember(self, key: str, metadata: ObjectMetadata) -> None:
        """Size and version of an object that will be read soon: stores that can use them keep them for a while."""

    # -- containers and directories

    def create_container(self) -> None:
        """Create the container; one of our own that is there already is no error."""
        self.execute(Call(self, "CREATE_CONTAINER", "", lambda: self._create_container()))

    def delete_container(self) -> None:
        """Delete the container, which must be empty."""
        self.execute(Call(self, "DELETE_CONTAINER", "", lambda: self._delete_container()))

    def list_containers(self) -> Sequence[Container]:
        """Every container that the credentials of this store can see."""
        listing: Call[Sequence[Container]] = Call(self, "LIST_CONTAINERS", "", lambda: self._list_containers())
        return self.execute(listing)

    def mkdir(self, key: str) -> None:
        """Make a directory and its parents; object stores have none, so there it does nothing."""

    def rmdir(self, key: str, *, recursive: bool = False) -> None:
        """Remove a directory; on object stores, with ``recursive``, everything under the prefix."""
        prefix = key if not key or key.endswith("/") else key + "/"
        if not recursive:
            return
        for page in self.list(prefix):
            for failed_key, error in self.delete_many(page.keys):
                error.locate(self.uri(failed_key), "DELETE")
                raise error

    # -- what a store fills in: each returns its result, or (cloud) the Steps that lead to it

    @abstractmethod
    def _read(self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions) -> Any: ...

    @abstractmethod
    def _read_tail(self, key: str, sink: Sink, length: int, conditions: Conditions) -> Any: ...

    @abstractmethod
    def _head(self, key: str, conditions: Conditions) -> Any: ...

    @abstractmethod
    def _write(self, key: str, source: Source, options: PutOptions) -> Any: ...

    def _write_on(self, key: str, source: Source, options: PutOptions, resume: UploadState) -> Any:
        return self._write(key, source, options)

    @abstractmethod
    def _writer(self, key: str, options: PutOptions, parts: PartOptions) -> StoreWriter: ...

    @abstractmethod
    def _list_page(self, prefix: str, recursive: bool, token: str | None, start_after: str | None) -> Any: ...

    @abstractmethod
    def _delete(self, key: str, version_id: str | None) -> Any: ...

    @abstractmethod
    def _delete_if_match(self, key: str, etag: str) -> Any: ...

    @abstractmethod
    def _delete_many(self, keys: Sequence[str]) -> Any: ...

    @abstractmethod
    def _copy(self, source: ObjectStore, source_key: str, key: str, options: PutOptions) -> Any: ...

    def _copy_sized(self, source: ObjectStore, source_key: str, key: str, options: PutOptions, size: int | None) -> Any:
        return self._copy(source, source_key, key, options)

    def _get_tags(self, key: str) -> Any:
        raise unsupported(self, key, "keep tags")

    def _put_tags(self, key: str, tags: Mapping[str, str]) -> Any:
        raise unsupported(self, key, "keep tags")

    @abstractmethod
    def _create_container(self) -> Any: ...

    @abstractmethod
    def _delete_container(self) -> Any: ...

    @abstractmethod
    def _list_containers(self) -> Any: ...

    def _check_read(self, key: str, operation: str, conditions: Conditions) -> None:
        self.check_key(key, operation)
        if conditions.sse_customer_key is not None and not self.takes_customer_keys:
            raise unsupported(self, key, "decrypt with a customer's key")
