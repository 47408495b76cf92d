"""s3:// with the bytes of objects carried by Apache Arrow's object_store (the ``obstore`` package): for comparison,
and as a way out. Chosen with ``S3DLIO_BACKEND=arrow``.

object_store has no verbs for buckets, metadata by HEAD or pages of a listing, and its path type cannot express every
S3 key (empty, ``.`` and ``..`` segments); boto3 carries these.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from s3dlio.config.settings import Settings
from s3dlio.errors import (
    MissingDependencyError,
    NetworkError,
    ObjectNotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    ProtocolError,
    RangeNotSatisfiableError,
    S3dlioError,
)
from s3dlio.forking import call_in_child
from s3dlio.memory.sinks import Sink
from s3dlio.memory.sources import Source
from s3dlio.stores.cloud import write_outcome
from s3dlio.stores.cloud.answer_check import S3_API
from s3dlio.stores.cloud.failures import create_only_error
from s3dlio.stores.s3.access_points import is_arn
from s3dlio.stores.s3.account import account_of
from s3dlio.stores.s3.credentials import EXPIRED_CODES
from s3dlio.stores.s3.headers import put_fields
from s3dlio.stores.sdk.answers import response_of
from s3dlio.stores.sdk.bodies import file_over
from s3dlio.stores.sdk.boto import RANGES, BotoStore
from s3dlio.types import NO_CONDITIONS, NO_OPTIONS, Conditions, ObjectMetadata, Observer, PutOptions, PutResult
from s3dlio.uri import Location

log = logging.getLogger("s3dlio.s3")

_PIECE = 1 << 20
#: object_store's threads run, since somebody has used it.
_running = False
#: They ran in the parent of this forked process.
_left_behind = False
_ATTRIBUTES = (
    ("content_type", "Content-Type"),
    ("content_encoding", "Content-Encoding"),
    ("content_language", "Content-Language"),
    ("content_disposition", "Content-Disposition"),
    ("cache_control", "Cache-Control"),
    ("storage_class", "Storage-Class"),
)


@call_in_child
def _leave_threads_behind() -> None:
    global _running, _left_behind
    if _running:
        _running, _left_behind = False, True
        log.warning("object_store does not work in a forked child: boto3 carries everything here")


class ArrowStore(BotoStore):
    """One bucket. The parameters are those of :class:`S3Store`."""

    unheeded: ClassVar[tuple[str, ...]] = (
        "http.read_timeout", "http.follow_redirects", "http.redirect_max", "http.tls_direct",
        "retry.retry_after_cap", *RANGES,
    )  # fmt: skip
    _arrow: Any = None

    def _obstore(self) -> Any:
        try:
            import obstore
        except ImportError as error:
            raise MissingDependencyError("obstore", "arrow", "S3DLIO_BACKEND=arrow") from error
        return obstore

    @property
    def arrow(self) -> Any:
        """The object_store: made on first use."""
        global _running
        if self._arrow is None:
            self._obstore()
            with self._lock:
                if self._arrow is None:  # another thread may have been quicker
                    self._arrow = self._make_arrow()
                    _running = True
        return self._arrow

    def _carries(self, key: str) -> bool:
        """Whether object_store can: not in a child of the process that used it. Its threads stay behind there, and its
        epoll is shared, so that whatever the child let go of would be lost to the parent."""
        return not _left_behind and not self._elsewhere and is_path(key)

    @property
    def _elsewhere(self) -> bool:
        """The bucket is one that object_store does not find or sign for: boto3 carries everything."""
        return is_arn(self.container) or self._place.service != "s3"

    def _make_arrow(self) -> Any:
        from obstore import store

        s3, http, account = self.settings.s3, self.settings.http, self.account
        config: dict[str, Any] = {"bucket": self.container, "region": account.region}
        service, path = account.service(self.container)
        virtual = account.endpoint.is_virtual(self.container)
        config["virtual_hosted_style_request"] = virtual
        # The bucket stands in the endpoint, or object_store adds it.
        config["endpoint"] = service.pool.name + (path if virtual else path.removesuffix(f"/{self.container}"))
        config["unsigned_payload"] = not s3.payload_signing
        if s3.anonymous:
            config["skip_signature"] = True
        if s3.requester_pays:
            config["request_payer"] = True
        options: dict[str, Any] = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=http.connect_timeout),
            "timeout": timedelta(seconds=http.operation_timeout or 24 * 3600),
            "pool_max_idle_per_host": str(http.max_connections),
            "pool_idle_timeout": timedelta(seconds=http.pool_idle_seconds),
        }
        if service.pool.secure:
            options["http1_only"] = not s3.https_h2
        elif s3.h2c:
            options["http2_only"] = True
        if http.ca_bundle:
            with open(http.ca_bundle, encoding="ascii") as bundle:
                options["root_certificate"] = bundle.read()
        retries = self.settings.retry
        pauses = {"init_backoff": retries.base_delay, "max_backoff": retries.max_delay}
        backoff = {"base": 2, **{name: timedelta(seconds=seconds) for name, seconds in pauses.items()}}
        retry = {"max_retries": retries.max_attempts - 1, "backoff": backoff}
        provider = None if s3.anonymous else self._credential
        make: Any = store.S3Store
        return make(config=config, client_options=options, retry_config=retry, credential_provider=provider)

    def _credential(self) -> dict[str, Any]:
        found = self.account.credentials()
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "token": found.token,
            # Those that end are asked for again before each request, which costs nothing while they last.
            "expires_at": datetime.now(UTC) if self.account.credentials.can_refresh else None,
        }

    @contextlib.contextmanager
    def _arrow_errors(self, key: str, options: PutOptions = NO_OPTIONS) -> Iterator[None]:
        errors = self._obstore().exceptions
        kinds: dict[type[Exception], type[S3dlioError]] = {
            FileNotFoundError: ObjectNotFoundError,
            errors.PermissionDeniedError: PermissionDeniedError,
            errors.UnauthenticatedError: PermissionDeniedError,
            errors.PreconditionError: PreconditionFailedError,
            errors.AlreadyExistsError: PreconditionFailedError,
            errors.NotModifiedError: PreconditionFailedError,
        }
        try:
            yield
        except S3dlioError:
            raise
        except (errors.BaseError, FileNotFoundError) as error:
            text = str(error).split("\n\n")[0]
            kind = next((ours for theirs, ours in kinds.items() if isinstance(error, theirs)), NetworkError)
            raise create_only_error(kind(text, uri=self.uri(key)), options) from error

    def _renewing(self, ask: Callable[[], Any]) -> Any:
        """What ``ask`` gives, with other keys if those that it took are refused and there are others."""
        try:
            return ask()
        except self._obstore().exceptions.BaseError as error:
            expired = any(f"<Code>{code}</Code>" in str(error) for code in EXPIRED_CODES)
            if not (expired and self.account.credentials.refresh()):
                raise
        return ask()

    # -- objects

    def _read(
        self, key: str, sink: Sink, offset: int, length: int | None, conditions: Conditions
    ) -> ObjectMetadata:
        if length == 0 or not self._carries(key) or conditions.sse_customer_key is not None:
            return super()._read(key, sink, offset, length, conditions)
        options: dict[str, Any] = {}
        if conditions.if_match:
            options["if_match"] = conditions.if_match
        if conditions.if_none_match:
            options["if_none_match"] = conditions.if_none_match
        if conditions.version_id:
            options["version"] = conditions.version_id
        if offset or length is not None:
            options["range"] = {"offset": offset} if length is None else (offset, offset + length)
        try:
            with self._arrow_errors(key):
                answer = self._renewing(lambda: self._obstore().get(self.arrow, key, options=options))
                self._check(answer, offset, length)
                self._collect(answer, sink)
        except (NetworkError, RangeNotSatisfiableError) as error:
            if "range" not in options or sink.size is not None:
                raise
            about = self._head(key, NO_CONDITIONS)  # object_store has no error of its own for a range beyond the end
            if offset < about.size:
                raise error
            sink.begin(0)
            sink.end(0)
            return about
        return _metadata_of(answer)

    def _check(self, answer: Any, offset: int, length: int | None) -> None:
        """Refuse a web page, and another range than was asked for."""
        told, size = answer.meta, answer.meta["size"]
        if told["e_tag"] is None and str(dict(answer.attributes).get("Content-Type")).startswith("text/html"):
            raise S3_API.error(response_of(200, {"content-type": "text/html"}), self._place.url)
        if answer.range != (offset, size if length is None else min(size, offset + length)):
            raise ProtocolError("the server answered another range than was asked for")

    def _collect(self, answer: Any, sink: Sink) -> None:
        first, last = answer.range
        sink.begin(last - first)
        place = sink.at(0, last - first)
        done = 0
        for piece in answer.stream(min_chunk_size=_PIECE):
            data = memoryview(piece)
            if isinstance(place, memoryview):
                place[done : done + len(data)] = data
            else:
                place(data)
            done += len(data)
            self.receiving(len(data))
        if done != last - first:
            raise NetworkError(f"{done} of {last - first} bytes arrived")
        sink.end(done)

    def _write(self, key: str, source: Source, options: PutOptions) -> PutResult:
        encrypts = options.server_side_encryption or options.sse_customer_key or options.ssekms_key_id
        plain = not (encrypts or options.expires)
        # A conditional write is looked for after a lost answer, which object_store's own attempts would hide.
        if not plain or options.tags or write_outcome.is_conditional(options) or not self._carries(key):
            return super()._write(key, source, options)
        put_fields(options)
        attributes = {name: value for field, name in _ATTRIBUTES if (value := getattr(options, field))}
        attributes.update(options.metadata or {})
        multipart = self.settings.multipart
        large = source.size > multipart.threshold
        whole = source.whole()
        with file_over(source, self.sending) as file, self._arrow_errors(key, options):
            answer = self._renewing(lambda: self._obstore().put(
                self.arrow,
                key,
                file if whole is None or self.settings.http.bwlimit is not None else whole,
                attributes=attributes or None,
                use_multipart=large,
                chunk_size=multipart.part_size,
                max_concurrency=multipart.max_in_flight,
            ))  # fmt: skip
        return PutResult(answer["e_tag"], answer["version"], source.size)

    def _delete(self, key: str, version_id: str | None) -> None:
        if version_id is not None or not self._carries(key):
            super()._delete(key, version_id)
            return
        with self._arrow_errors(key), contextlib.suppress(FileNotFoundError):
            self._renewing(lambda: self._obstore().delete(self.arrow, key))


def open_store(location: Location, settings: Settings, observers: Sequence[Observer] = ()) -> ArrowStore:
    """The store of the bucket that ``location`` names. It does no I/O, but may read ``~/.aws``.

    Raises:
        ConfigError: as of :class:`s3dlio.stores.s3.account.S3Account`.
    """
    account = account_of(location, settings)
    return ArrowStore(account, location.container, location.root, observers)


def is_path(key: str) -> bool:
    """Whether object_store's path type keeps the key as it is: no empty, ``.`` or ``..`` segments, nothing that it
    encodes, no control characters."""
    return key.isprintable() and not any(part in ("", ".", "..") for part in key.split("/")) and not _ENCODED & set(key)


#: Characters that object_store's path type percent-encodes (its documentation, Path::parse and PathPart).
_ENCODED = frozenset('\\{}^%`[]<>~#|"*?')


def _metadata_of(answer: Any) -> ObjectMetadata:
    told = answer.meta
    attributes = dict(answer.attributes)
    attributes.pop(write_outcome.MARK, None)
    known = {field: attributes.pop(name, None) for field, name in _ATTRIBUTES}
    return ObjectMetadata(
        size=told["size"],
        etag=told["e_tag"],
        version_id=told["version"],
        last_modified=f"{told['last_modified']:%Y-%m-%dT%H:%M:%SZ}",
        metadata=attributes,
        **known,
    )
