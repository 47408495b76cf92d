"""The values that stores and callers exchange. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from s3dlio.errors import S3dlioError
from s3dlio.foreign_errors import from_exception
from s3dlio.records import Record, field, replace

T = TypeVar("T")

#: What a payload may be: bytes, bytearray, memoryview, BytesView, numpy array, or an object with ``__bytes__``.
Payload = Any


class ObjectMetadata(Record):
    """What a store tells about one object.

    ``size`` is in bytes; ``etag`` stands as the service wrote it, quotes included; ``last_modified`` is RFC 3339 in
    UTC with as many decimals as the store keeps. Two are equal when size, etag and version are.
    """

    size: int
    etag: str | None = None
    version_id: str | None = None
    last_modified: str | None = field(default=None, repr=False)
    content_type: str | None = field(default=None, repr=False)
    content_language: str | None = field(default=None, repr=False)
    content_encoding: str | None = field(default=None, repr=False)
    cache_control: str | None = field(default=None, repr=False)
    content_disposition: str | None = field(default=None, repr=False)
    expires: str | None = field(default=None, repr=False)
    storage_class: str | None = field(default=None, repr=False)
    server_side_encryption: str | None = field(default=None, repr=False)
    ssekms_key_id: str | None = field(default=None, repr=False)
    sse_customer_algorithm: str | None = field(default=None, repr=False)
    replication_status: str | None = field(default=None, repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    crc32c: int | None = field(default=None, repr=False)
    #: The MD5 of the whole object in base64, where the store keeps one.
    md5: str | None = field(default=None, repr=False)
    #: How many tags the object has, where the store tells it with the rest.
    tag_count: int | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectMetadata):
            return NotImplemented
        return (self.size, self.etag, self.version_id) == (other.size, other.etag, other.version_id)

    def __hash__(self) -> int:
        return hash((self.size, self.etag, self.version_id))

    def as_dict(self) -> dict[str, Any]:
        """The dictionary that ``s3dlio.stat`` returns: these keys, always all of them."""
        result: dict[str, Any] = dict(zip(STAT_KEYS, _stat_values(self), strict=True))
        result["metadata"] = dict(self.metadata)
        return result


STAT_KEYS = (
    "size", "last_modified", "etag", "content_type", "content_language", "content_encoding", "cache_control",
    "content_disposition", "expires", "storage_class", "server_side_encryption", "ssekms_key_id",
    "sse_customer_algorithm", "version_id", "replication_status", "metadata",
)  # fmt: skip
_stat_values = attrgetter(*STAT_KEYS)


class LazyMetadata(ObjectMetadata):
    """Metadata that is parsed when a field is first read; made by :func:`lazy_metadata`."""

    __slots__ = ("_about", "_describe")

    def __getattr__(self, name: str) -> Any:
        """Called for a field that is not there yet: fill them all in."""
        if name not in _FIELDS:
            raise AttributeError(name)
        metadata = _late(partial(self._describe, *self._about))
        for each in _FIELDS:
            object.__setattr__(self, each, getattr(metadata, each))
        return getattr(metadata, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectMetadata, tuple(getattr(self, each) for each in _FIELDS)


_FIELDS = tuple(ObjectMetadata._fields)
_new: Any = object.__new__
# The fields of a record take no assignment.
_set_describe: Any = LazyMetadata.__dict__["_describe"].__set__
_set_about: Any = LazyMetadata.__dict__["_about"].__set__


def lazy_metadata(describe: Callable[..., ObjectMetadata], *about: Any) -> LazyMetadata:
    """The metadata that ``describe(*about)`` gives, called once, when a field is first read: 0.2 us to make, against 2
    and more."""
    made: LazyMetadata = _new(LazyMetadata)
    _set_describe(made, describe)
    _set_about(made, about)
    return made


def _late(parse: Callable[[], T]) -> T:
    """What an answer says that is looked at when somebody asks.

    Raises:
        ProtocolError: it cannot be understood.
    """
    try:
        return parse()
    except S3dlioError:
        raise
    except Exception as error:
        raise from_exception(error, of_service=True) from error


class ListEntry(NamedTuple):
    """One object of a listing: key within the container (or path), size in bytes, etag, RFC 3339 time, class."""

    key: str
    size: int
    etag: str | None = None
    last_modified: str | None = None
    storage_class: str | None = None


class VersionEntry(NamedTuple):
    """One version of an object, or the marker of its deletion, which has no bytes. ``is_latest``: a read without a
    version finds it (or that there is nothing any more)."""

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool = False
    size: int = 0
    etag: str | None = None
    last_modified: str | None = None
    storage_class: str | None = None


class VersionPage(NamedTuple):
    """One page of a listing of versions; ``prefixes`` are the sub-directories, as of :class:`ListPage`."""

    versions: Sequence[VersionEntry]
    prefixes: Sequence[str] = ()


class UploadEntry(NamedTuple):
    """An upload in parts that was neither completed nor aborted, and when it was begun (RFC 3339)."""

    key: str
    upload_id: str
    initiated: str | None = None


class ListPage:
    """One page of a listing.

    Args:
        keys: the object keys, in the service's order.
        prefixes: the common prefixes (sub-directories), each ending in ``/``.
        parse_entries: makes the full entries from the page's body. Sizes and times are parsed only when somebody
            asks, because most listings want names: that halves the time per key.
    """

    __slots__ = ("_entries", "_parse_entries", "keys", "prefixes")

    def __init__(
        self,
        keys: Sequence[str],
        prefixes: Sequence[str] = (),
        parse_entries: Callable[[], list[ListEntry]] | None = None,
    ) -> None:
        self.keys = keys
        self.prefixes = prefixes
        self._parse_entries = parse_entries
        self._entries: list[ListEntry] | None = None

    @property
    def entries(self) -> list[ListEntry]:
        """The objects with size, etag and time, in the order of ``keys``."""
        if self._entries is None:
            self._entries = _late(self._parse_entries) if self._parse_entries else []
        return self._entries


class Container(NamedTuple):
    """A bucket, container or directory: its name, URI, and RFC 3339 creation time where the store knows it."""

    name: str
    uri: str
    creation_date: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        return self._asdict()


def check_text(name: str, value: Any) -> None:
    """Refuse what is neither None nor text.

    Raises:
        TypeError: it is neither.
    """
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")


def check_texts(name: str, values: Any) -> None:
    """Refuse what is neither None nor a mapping of texts.

    Raises:
        TypeError: it is neither.
    """
    if values is None:
        return
    if not isinstance(values, Mapping):
        raise TypeError(f"{name} must be a mapping of str to str, not {type(values).__name__}")
    for key, value in values.items():
        check_text(f"a name in {name}", key)
        check_text(f"{name}[{key!r}]", value)


class _WithoutKey(Record):
    """Options whose pickle has no key. In its place stands what every store refuses as a key: without one, an object
    would be written in the clear."""

    def __reduce__(self) -> tuple[Any, ...]:
        values = {name: getattr(self, name) for name in self._fields}
        if values["sse_customer_key"] is not None:
            values["sse_customer_key"] = KEY_LEFT_OUT
        return type(self), tuple(values.values())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self


class Conditions(_WithoutKey):
    """Preconditions of a read or write.

    ``if_match``/``if_none_match`` are ETags (``"*"`` as if_none_match: create only); ``generation`` is GCS's number;
    ``version_id`` names one version of the object that is read (or copied), ``sse_customer_key`` the raw 32-byte key
    that this is encrypted with. A pickle has no key: where it is used again, the key has to be given again.
    """

    if_match: str | None = None
    if_none_match: str | None = None
    generation: int | None = None
    version_id: str | None = None
    sse_customer_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("if_match", "if_none_match", "version_id"):
            check_text(name, getattr(self, name))


#: Stands for a customer's key in what was pickled; it is no key.
KEY_LEFT_OUT = b"a customer's key is not pickled; give it again"

NO_CONDITIONS = Conditions()


class PutOptions(_WithoutKey):
    """What a write may carry besides its bytes; what a store cannot keep is an UnsupportedOperationError.

    ``durable`` asks local stores for fsync of the file and its directory. ``sse_customer_key`` is the raw 32-byte key,
    which a pickle does not have: where the options are used again, it has to be given again. ``expires`` is the date
    of the header field Expires, which only S3 keeps.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    content_disposition: str | None = None
    cache_control: str | None = None
    metadata: Mapping[str, str] | None = None
    storage_class: str | None = None
    tags: Mapping[str, str] | None = None
    server_side_encryption: str | None = None
    ssekms_key_id: str | None = None
    sse_customer_key: bytes | None = field(default=None, repr=False)
    conditions: Conditions = NO_CONDITIONS
    durable: bool = False
    expires: str | None = None

    def __post_init__(self) -> None:
        for name in _TEXTS:
            check_text(name, getattr(self, name))
        for name in ("metadata", "tags"):
            check_texts(name, getattr(self, name))

    def replaces_metadata(self) -> bool:
        """Whether a copy with these options gets other metadata or content fields than its source."""
        return self.metadata is not None or any(getattr(self, name) for name in _CARRIED)

    def completed_from(self, source: ObjectMetadata) -> PutOptions:
        """These options, with what a copy keeps of its source where they say nothing."""
        carried = {name: getattr(self, name) or getattr(source, name) for name in _CARRIED}
        return replace(self, metadata=source.metadata if self.metadata is None else self.metadata, **carried)


#: What an object keeps when it is copied, besides its metadata.
_CARRIED = (
    "content_type", "content_encoding", "content_language", "content_disposition", "cache_control", "expires"
)  # fmt: skip

_TEXTS = (*_CARRIED, "storage_class", "server_side_encryption", "ssekms_key_id")

NO_OPTIONS = PutOptions()


class PutResult(NamedTuple):
    """What a store answers to a write: the etag and version it gave, and the size in bytes."""

    etag: str | None
    version_id: str | None
    size: int


class Observation:
    """One finished operation, as observers (statistics, op-log) see it.

    Times are nanoseconds of ``time.time_ns``; ``first_byte_ns`` is 0 where no body was read. ``bytes`` is 0 after an
    error, and for ``HEAD`` the size of the object; ``objects`` counts the entries of a listing and the keys of a batch
    delete, and is 1 elsewhere.

    Attributes:
        range: the offset and length (None: to the end) that were asked for, in bytes; None for whole objects.
        endpoint: ``host:port`` of the server; None for local stores.
        service: the URL of the service that the store is of; None for local stores.
        attempts: how often the request was sent that took the most tries; 1 where nothing was tried again.
        status: the HTTP status of the last answer; None where there was none, or an SDK keeps it to itself.
    """

    __slots__ = (
        "attempts", "bytes", "end_ns", "endpoint", "error", "first_byte_ns", "objects", "operation", "range",
        "service", "start_ns", "status", "uri",
    )  # fmt: skip

    def __init__(self, operation: str, uri: str, start_ns: int) -> None:
        self.operation = operation
        self.uri = uri
        self.start_ns = start_ns
        self.first_byte_ns = 0
        self.end_ns = 0
        self.bytes = 0
        self.objects = 1
        self.range: tuple[int, int | None] | None = None
        self.endpoint: str | None = None
        self.service: str | None = None
        self.attempts = 1
        self.status: int | None = None
        self.error: BaseException | None = None

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns


class Observer(Protocol):
    """Called once for every finished operation, on the thread that ran it; it must be quick and must not raise."""

    def __call__(self, observation: Observation, /) -> None: ...
