"""The store level: objects beneath one URI, as the Rust API of this name has it. Thin over :class:`s3dlio.Client`."""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Self

from s3dlio import api
from s3dlio.client import Client
from s3dlio.compat.configs import (
    AzureConfig,
    CloudConfig,
    FileSystemConfig,
    GcsConfig,
    RangeEngineConfig,
    S3Config,
)
from s3dlio.config.adaptive import AdaptiveConfig
from s3dlio.errors import ConfigError, IntegrityError, InvalidURIError
from s3dlio.memory.crc32c import crc32c
from s3dlio.memory.pool import default_pool
from s3dlio.memory.view import BytesView
from s3dlio.stores.call import Call
from s3dlio.stores.local.atomic import make_directories
from s3dlio.types import NO_OPTIONS, Observation, Payload, PutOptions
from s3dlio.uri import LOCAL_SCHEMES, SCHEMES, URI, as_uri, bucket_beside, has_scheme

if TYPE_CHECKING:
    from s3dlio.streams.writer import ObjectWriter
    from s3dlio.streams.writer_options import WriterOptions

Config = RangeEngineConfig | AdaptiveConfig | CloudConfig | FileSystemConfig
Logger = Callable[[Observation], None]

#: What `update_properties` may set.
_PROPERTIES = (
    "content_type", "content_encoding", "content_language", "content_disposition", "cache_control", "storage_class",
)  # fmt: skip


class Store:
    """Objects beneath a URI. Safe to share among threads; a context manager; pickles by its client and its URI.

    Wherever a URI is meant, a name beneath the store's own URI works, too: ``store.get("a/b")``.

    Args:
        uri: a bucket, container or directory, or a prefix in one.
        client: what does the work.
        direct: local files are read and written with O_DIRECT, whatever their URIs say.
    """

    def __init__(self, uri: URI, client: Client, *, direct: bool = False) -> None:
        self.uri = as_uri(uri)
        self.client = client
        self._direct = direct
        client.store_for(self.uri)  # refuses what is no URI

    @property
    def scheme(self) -> str:
        """The scheme of its URIs: s3, az, gs, file, direct or memory."""
        return SCHEMES[self.uri.partition("://")[0].lower()]

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for its batches and let go of connections, unless it shares the default client's."""
        if self.client is not api.default_client():
            self.client.close()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"a Store has no attribute {name!r}")

    def _real(self, uri: URI) -> str:
        """The URI for the client: names are put beneath the store's own, and O_DIRECT is a scheme."""
        full = as_uri(uri)
        if not has_scheme(full):
            full = f"{self.uri.rstrip('/')}/{full}" if full else self.uri
        scheme = SCHEMES[full.partition("://")[0].lower()]
        if scheme != self.scheme:
            raise InvalidURIError(f"this store is of {self.scheme}://, not {scheme}://", uri=full)
        return f"direct{full[len('file') :]}" if self._direct and scheme == "file" else full

    def _shown(self, uri: str) -> str:
        """A URI as the caller writes it."""
        return f"file{uri[len('direct') :]}" if self._direct and self.scheme == "file" else uri

    # -- reading

    def get(self, uri: URI) -> BytesView:
        """Read an object; errors as of ``s3dlio.get``."""
        return self.client.get(self._real(uri))

    def get_range(self, uri: URI, offset: int, length: int | None = None) -> BytesView:
        """Read ``length`` bytes from ``offset`` on, to the end without a length; errors as of ``s3dlio.get_range``."""
        return self.client.get_range(self._real(uri), offset, length)

    def get_with_validation(self, uri: URI, expected_checksum: str | None = None) -> BytesView:
        """Read an object and compare its checksum.

        Args:
            uri: which.
            expected_checksum: ``crc32c:`` and eight hexadecimal digits; None compares nothing.

        Raises:
            IntegrityError: it has another.
            ConfigError: the checksum is of another kind.
        """
        return self._validated(uri, self.get(uri), expected_checksum)

    def get_range_with_validation(
        self, uri: URI, offset: int, length: int | None = None, expected_checksum: str | None = None
    ) -> BytesView:
        """:meth:`get_range`, compared as by :meth:`get_with_validation`; the checksum is that of the range."""
        return self._validated(uri, self.get_range(uri, offset, length), expected_checksum)

    def _validated(self, uri: URI, data: BytesView, expected: str | None) -> BytesView:
        if expected is None:
            return data
        kind, _, digits = expected.strip().lower().partition(":")
        if kind != "crc32c" or len(digits) != 8:
            raise ConfigError(f"{expected!r} is no checksum of this kind", hint="write crc32c: and eight digits")
        actual = f"{crc32c(data.memoryview()):08x}"
        if actual != digits:
            raise IntegrityError(
                f"the checksum is crc32c:{actual}, not crc32c:{digits}", uri=self._real(uri), operation="GET"
            )
        return data

    def stat(self, uri: URI) -> dict[str, Any]:
        """What the store tells about an object; as ``s3dlio.stat``."""
        return self.client.stat(self._real(uri))

    def exists(self, uri: URI) -> bool:
        """Whether there is such an object; as ``s3dlio.exists``."""
        return self.client.exists(self._real(uri))

    def pre_stat_and_cache(self, uris: Iterable[URI], max_concurrent: int = 100) -> int:
        """Ask for sizes before the objects are read; as ``s3dlio.pre_stat_and_cache``. Returns how many there are."""
        return self.client.pre_stat_and_cache([self._real(uri) for uri in uris], max_concurrent)

    # -- listing

    def list(self, uri_prefix: URI = "", recursive: bool = False, pattern: str | None = None) -> builtins.list[str]:
        """The URIs of what there is, sorted; as ``s3dlio.list``. Without ``uri_prefix`` of the store's own URI."""
        return [*self.list_stream(uri_prefix, recursive, pattern)]

    def list_stream(self, uri_prefix: URI = "", recursive: bool = False, pattern: str | None = None) -> Iterator[str]:
        """The URIs of :meth:`list`, one after the other while the store lists them: in constant memory."""
        found = self.client.iterate(self._real(uri_prefix), recursive, pattern)
        return map(self._shown, found) if self._direct else found

    # -- writing

    def put(self, uri: URI, data: Payload, **options: Any) -> None:
        """Write an object; as ``s3dlio.put_bytes``, whose ``options`` it takes."""
        self.client.put_bytes(self._real(uri), data, **options)

    def put_multipart(
        self, uri: URI, data: Payload, part_size: int | None = None, *, options: PutOptions = NO_OPTIONS
    ) -> None:
        """Write an object in parts, several of them at a time.

        Args:
            uri: which.
            data: as of ``s3dlio.put_bytes``.
            part_size: bytes of a part; None: as the settings say.
            options: as of ``s3dlio.put_bytes``.
        """
        store, key = self.client.store_for(self._real(uri))
        with store.writer(key, options=options, part_size=part_size) as writer:
            writer.write_owned(data)  # nobody changes it meanwhile, as of a put

    def open(self, uri: URI, mode: str = "r", **arguments: Any) -> IO[Any]:
        """Open an object as a file; arguments as of ``s3dlio.open``."""
        return self.client.open(self._real(uri), mode, **arguments)

    def get_writer(self, uri: URI, options: WriterOptions | Mapping[str, Any] | None = None) -> ObjectWriter:
        """Open a streaming writer; as ``s3dlio.create_stream_writer``."""
        return self.client.create_stream_writer(self._real(uri), options)

    create_writer = create_stream_writer = get_writer

    def get_writer_with_compression(
        self, uri: URI, compression: str = "zstd", level: int | None = None
    ) -> ObjectWriter:
        """Open a streaming writer that compresses; as ``s3dlio.get_writer_with_compression``."""
        return self.client.get_writer_with_compression(self._real(uri), compression, level)

    def update_metadata(self, uri: URI, metadata: Mapping[str, str]) -> None:
        """Set some of an object's user metadata; the others stay. The service copies the object onto itself.

        Raises:
            UnsupportedOperationError: the store keeps none (local files).
        """
        store, key = self.client.store_for(self._real(uri))
        kept = dict(store.head(key).metadata)
        self._rewrite(uri, PutOptions(metadata={**kept, **metadata}))

    def update_properties(self, uri: URI, properties: Mapping[str, str] | None = None, **more: str) -> None:
        """Set some of an object's properties; the others, and its metadata, stay. The service copies it onto itself.

        Args:
            uri: which.
            properties, **more: content_type, content_encoding, content_language, content_disposition, cache_control,
                storage_class.

        Raises:
            ConfigError: another property.
            UnsupportedOperationError: the store keeps none (local files).
        """
        given = {**(properties or {}), **more}
        if unknown := sorted(set(given) - set(_PROPERTIES)):
            raise ConfigError(f"unknown property {unknown[0]!r}", hint=f"use one of {', '.join(_PROPERTIES)}")
        self._rewrite(uri, PutOptions(**given))  # type: ignore[arg-type]

    def _rewrite(self, uri: URI, options: PutOptions) -> None:
        store, key = self.client.store_for(self._real(uri))
        if self.scheme == "s3":  # what a copy of S3 does not keep by itself
            about = store.head(key)
            options = replace(
                options,
                storage_class=options.storage_class or about.storage_class,
                server_side_encryption=about.server_side_encryption,
                ssekms_key_id=about.ssekms_key_id,
            )
        store.copy(store, key, key, options=options)

    # -- deleting, copying

    def delete(self, uri: URI) -> None:
        """Delete exactly this object; one that is not there is no error."""
        self.client.delete(self._real(uri))

    def delete_batch(self, uris: Iterable[URI]) -> None:
        """Delete many objects; as ``s3dlio.delete_many``."""
        self.client.delete_many([self._real(uri) for uri in uris])

    def delete_prefix(self, uri_prefix: URI) -> None:
        """Delete what ``list(uri_prefix, recursive=True)`` shows, and local directories with it."""
        self.client.delete(self._real(uri_prefix), recursive=True)

    def copy(self, src_uri: URI, dst_uri: URI) -> None:
        """Copy an object, inside the service where it can; as ``s3dlio.copy``."""
        self.client.copy(self._real(src_uri), self._real(dst_uri))

    def rename(self, src_uri: URI, dst_uri: URI) -> None:
        """Give an object another name: local files at once, others by a copy, after which the source is deleted."""
        source, target = self._real(src_uri), self._real(dst_uri)
        if self.scheme not in LOCAL_SCHEMES or not self._renamed(source, target):
            self.client.move(source, target)

    def _renamed(self, source: str, target: str) -> bool:
        """Whether the file has its new name; False where it would have to go to another file system."""
        (store, old), (_, new) = self.client.store_for(source), self.client.store_for(target)
        for key in (old, new):
            store.check_key(key, "RENAME")
        call: Call[bool] = Call(store, "RENAME", old, lambda: _replaced(old, new))
        return store.execute(call)

    # -- directories and containers

    def mkdir(self, uri: URI) -> None:
        """Make a local directory and its parents; object stores have none."""
        self.client.mkdir(self._real(uri))

    def rmdir(self, uri: URI, recursive: bool = False) -> None:
        """Remove a directory; as ``s3dlio.rmdir``."""
        self.client.rmdir(self._real(uri), recursive)

    def create_container(self, name: URI) -> None:
        """Create a bucket (container, local directory), named by its URI, or by its name beside the store's own."""
        self.client.create_bucket(self._container(name))

    def delete_container(self, name: URI) -> None:
        """Delete a bucket (container, local directory), which must be empty; named as for :meth:`create_container`."""
        self.client.delete_bucket(self._container(name))

    def _container(self, name: URI) -> str:
        text = as_uri(name)
        if has_scheme(text) or self.scheme in LOCAL_SCHEMES:
            return self._real(text)
        root = self.client.store_for(self._real(self.uri))[0].root
        if self.scheme == "s3":
            return bucket_beside(root, root.rpartition("/")[2], text)
        return f"{root.rpartition('/')[0]}/{text}"


def _replaced(old: str, new: str) -> bool:
    make_directories(os.path.dirname(os.path.abspath(new)))
    try:
        os.replace(old, new)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise
    return True


def store_for_uri(uri: URI, *, config: Config | None = None, logger: Logger | None = None, **options: Any) -> Store:
    """A store of the objects beneath a URI.

    Args:
        uri: a bucket, container or directory, or a prefix in one.
        config: how; one that fits the URI.
        logger: is called with the :class:`s3dlio.Observation` of every operation that ends.
        **options: as of a :class:`s3dlio.Client`: ``endpoint_url=``, ``range={"chunk": ...}``. Without any of these the
            store shares the default client.

    Raises:
        InvalidURIError: it is no URI.
        ConfigError: an unknown option, a value of the wrong type, or a configuration of other stores.
    """
    uri = as_uri(uri)
    sections = _sections(uri, config)
    direct = isinstance(config, FileSystemConfig) and config.direct_io is True
    if not (sections or options or logger):
        return Store(uri, api.default_client(), direct=direct)
    for section, values in sections.items():
        options[section] = {**values, **options.get(section, {})}
    client = Client(**options)
    if logger is not None:
        client.add_observer(logger)
    if isinstance(config, FileSystemConfig):
        pool = default_pool()
        pool.max_idle_bytes = max(pool.max_idle_bytes, config.pool_bytes)
    return Store(uri, client, direct=direct)


def _sections(uri: str, config: Config | None) -> dict[str, dict[str, Any]]:
    """The settings of a configuration.

    Raises:
        ConfigError: it is none, or is one of other stores.
    """
    if config is None:
        return {}
    if not isinstance(config, Config):
        raise ConfigError(f"a {type(config).__name__} is no configuration of a store", uri=uri)
    scheme = SCHEMES.get(uri.partition("://")[0].lower())
    schemes = getattr(config, "schemes", CloudConfig.schemes)
    if scheme not in schemes:
        meant = ", ".join(f"{name}://" for name in schemes)
        raise ConfigError(f"a {type(config).__name__} is for stores of {meant}", uri=uri)
    if isinstance(config, FileSystemConfig) and scheme == "direct" and config.direct_io is False:
        raise ConfigError("direct_io=False, and the URI says direct://", uri=uri, hint="write file://")
    return config.sections()


def store_for_uri_with_config(uri: URI, config: Config | None = None, **options: Any) -> Store:
    """:func:`store_for_uri` with its configuration in second place."""
    return store_for_uri(uri, config=config, **options)


def store_for_uri_with_options(uri: URI, options: Mapping[str, Any] | None = None, **more: Any) -> Store:
    """:func:`store_for_uri` with its options in a mapping, by keyword, or both."""
    return store_for_uri(uri, **{**(options or {}), **more})


def store_for_uri_with_logger(uri: URI, logger: Logger | None = None, **options: Any) -> Store:
    """:func:`store_for_uri` with its logger in second place."""
    return store_for_uri(uri, logger=logger, **options)


def store_for_uri_with_high_performance_cloud(uri: URI, **options: Any) -> Store:
    """A store that reads large objects as 32 concurrent ranges of 64 MiB, whatever the settings say; of clouds only:
    others are those of :func:`store_for_uri`."""
    kinds: dict[str, type[CloudConfig]] = {"s3": S3Config, "az": AzureConfig, "gs": GcsConfig}
    kind = kinds.get(SCHEMES.get(as_uri(uri).partition("://")[0].lower(), ""))
    config = kind(enable_range_engine=True, range_engine=RangeEngineConfig()) if kind else None
    return store_for_uri(uri, config=config, **options)


def direct_io_store_for_uri(uri: URI, **options: Any) -> Store:
    """A store of local files that are read and written with O_DIRECT; others are those of :func:`store_for_uri`."""
    config = FileSystemConfig.direct_io() if _is_local(uri) else None
    return store_for_uri(uri, config=config, **options)


def high_performance_store_for_uri(uri: URI, **options: Any) -> Store:
    """``FileSystemConfig.high_performance()`` for local files, and for clouds
    :func:`store_for_uri_with_high_performance_cloud`."""
    if not _is_local(uri):
        return store_for_uri_with_high_performance_cloud(uri, **options)
    return store_for_uri(uri, config=FileSystemConfig.high_performance(), **options)


def _is_local(uri: URI) -> bool:
    return SCHEMES.get(as_uri(uri).partition("://")[0].lower()) in LOCAL_SCHEMES
