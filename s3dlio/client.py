"""The client: settings, credentials, threads, one store for each container, and every verb over URIs.

The functions of the package (``s3dlio.get`` and the others) are the methods of one default client.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from s3dlio.bulk import BulkVerbs
from s3dlio.endpoints import with_secrets
from s3dlio.errors import ConfigError
from s3dlio.knobs import secrets
from s3dlio.settings import SECTIONS, Settings
from s3dlio.sources import did_you_mean
from s3dlio.stores.registry import Stores
from s3dlio.transfer.executor import BaseExecutor, Executor, surrounding_token
from s3dlio.transfer.many import check_width
from s3dlio.types import Observer
from s3dlio.verbs import URI

if TYPE_CHECKING:
    from s3dlio.transfer.progress import Progress
    from s3dlio.transfer.summary import TransferSummary

Sources = URI | Iterable[URI]

DEFAULT_SIZE = 20 << 20


class Client(BulkVerbs):
    """Access to objects by URI. Safe to share among threads and to use in a forked child; a context manager.

    It pickles by its settings, without secrets: where it is unpickled, credentials are found anew. Observers stay
    behind.

    Args:
        settings: all of them, ready; without, they are resolved (``Settings.resolve``).
        endpoint_url, region, profile, access_key_id, secret_access_key, session_token, anonymous: of ``s3://``.
        ca_bundle: a PEM file of the certificates to trust.
        **sections: any other settings, one mapping for each section: ``http={"read_timeout": 5}``.

    Raises:
        ConfigError: an unknown setting, or a value of the wrong type.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        anonymous: bool | None = None,
        ca_bundle: str | None = None,
        **sections: Mapping[str, Any],
    ) -> None:
        if settings is not None and not isinstance(settings, Settings):
            raise ConfigError(
                f"the first argument of a Client is its Settings, not a {type(settings).__name__}",
                hint="name what you give: Client(endpoint_url=...)",
            )
        given = {name: _section(name, values) for name, values in sections.items()}
        s3 = {
            "endpoint_url": endpoint_url, "region": region, "profile": profile, "access_key_id": access_key_id,
            "secret_access_key": secret_access_key, "session_token": session_token, "anonymous": anonymous,
        }  # fmt: skip
        given["s3"] = s3 | given.get("s3", {})
        given["http"] = {"ca_bundle": ca_bundle} | given.get("http", {})
        self._use(Settings.resolve(**given) if settings is None else settings.replace(**given))

    def _use(self, settings: Settings, observers: Sequence[Observer] = ()) -> None:
        self.settings = settings
        self.executor: BaseExecutor = Executor(settings.executor.threads)
        self.stores = Stores(settings, observers)

    def reconfigure(self, settings: Settings) -> None:
        """Use other settings from now on. Operations that are running end with the ones they began with."""
        self._use(settings, self.stores.observers)

    def close(self) -> None:
        """Wait for running batches, let the threads go and close idle connections. The client can be used again.

        Connections are shared by all clients with the same ``http`` settings: those that are in use stay.
        """
        self.executor.shutdown()
        # Where no service was talked to, the module was never imported and need not be.
        if pools := sys.modules.get("s3dlio.net.pool"):
            settings = self.settings
            named = (settings.at(endpoint.name).http for endpoint in settings.endpoints)
            for http in {settings.http, *named, *self.stores.http()}:
                pools.close_idle(http)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        service = self.settings.s3.endpoint_url
        return f"Client(endpoint_url={service!r})" if service else "Client()"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.settings,)

    def add_observer(self, observer: Observer) -> None:
        """Have ``observer`` told of every operation that begins from now on."""
        self.stores.add_observer(observer)

    def remove_observer(self, observer: Observer) -> None:
        """Take an observer away again; one that is not there is no error."""
        self.stores.remove_observer(observer)

    # -- whole trees

    def upload(
        self,
        /,
        src_patterns: Sources | None = None,
        dest_prefix: URI | None = None,
        max_in_flight: int = 32,
        create_bucket: bool = False,
        *,
        src_uri: Sources | None = None,
        dest_uri: URI | None = None,
        **options: Any,
    ) -> TransferSummary:
        """Write local files as objects under ``dest_prefix``, by their names.

        Args:
            src_patterns: paths, ``file://`` URIs or globs of files and directories; one or several.
            dest_prefix: the URI of the directory that they go to.
            max_in_flight: how many files at a time.
            create_bucket: create the bucket (container, directory) first.
            src_uri, dest_uri: other names of the first two.
            **options: recursive, regex, include, exclude, verify, preserve_mtime, continue_on_error, journal, progress,
                cancel, options: see :func:`s3dlio.transfer.upload.upload`.

        Raises:
            ObjectNotFoundError: no file matched.
            BatchError: files failed; it has every one of them.
        """
        from s3dlio.transfer.upload import upload

        sources = either("src_patterns", src_patterns, "src_uri", src_uri)
        dest = either("dest_prefix", dest_prefix, "dest_uri", dest_uri)
        options.setdefault("cancel", surrounding_token())
        return upload(self, sources, dest, max_in_flight=max_in_flight, create_bucket=create_bucket, **options)

    def download(
        self,
        /,
        src_uri: URI,
        dest_dir: str | os.PathLike[str],
        max_in_flight: int = 64,
        recursive: bool = True,
        pattern: str | None = None,
        **options: Any,
    ) -> TransferSummary:
        """Write the objects that a URI selects (see :meth:`list`) as files beneath a local directory.

        Args:
            src_uri: what.
            dest_dir: where to; a key that would leave this directory is refused.
            max_in_flight: how many objects at a time.
            recursive: also what is in sub-directories.
            pattern: only names that match, as of :meth:`list`.
            **options: include, exclude, verify, preserve_mtime, continue_on_error, journal, progress, cancel: see
                :func:`s3dlio.transfer.download.download`.

        Raises:
            ObjectNotFoundError: no object matched.
            BatchError: objects failed or were refused; it has every one of them.
        """
        from s3dlio.transfer.download import download

        options.setdefault("cancel", surrounding_token())
        return download(
            self, src_uri, dest_dir, max_in_flight=max_in_flight, recursive=recursive, pattern=pattern, **options
        )

    def copy(
        self, /, src: Sources, dst: URI, max_in_flight: int = 32, recursive: bool = False, **options: Any
    ) -> TransferSummary:
        """Copy objects or files between any two schemes, inside the service where it can.

        Args:
            src: a URI or local path, or several local paths; what it selects is said at :meth:`list`.
            dst: a URI or local path; one that ends in ``/`` is a directory.
            max_in_flight: how many objects at a time.
            recursive: everything beneath a directory.
            **options: pattern, include, exclude, create_bucket, verify, preserve_mtime, continue_on_error, journal,
                progress, cancel, options: see :func:`s3dlio.transfer.copy.copy`.

        Raises:
            ObjectNotFoundError: there is nothing to copy.
            BatchError: objects failed; it has every one of them.
        """
        from s3dlio.transfer.copy import copy

        options.setdefault("cancel", surrounding_token())
        return copy(self, src, dst, max_in_flight=max_in_flight, recursive=recursive, **options)

    def move(
        self, /, src: Sources, dst: URI, max_in_flight: int = 32, recursive: bool = False, **options: Any
    ) -> TransferSummary:
        """:meth:`copy`, and delete each source when its copy is complete."""
        from s3dlio.transfer.copy import move

        options.setdefault("cancel", surrounding_token())
        return move(self, src, dst, max_in_flight=max_in_flight, recursive=recursive, **options)

    def sync(
        self, /, src: URI, dst: URI, max_in_flight: int = 32, delete: bool = False, **options: Any
    ) -> TransferSummary:
        """Make one directory like another, on any two schemes: transfer what is missing, has another size or is older.

        Args:
            src: a directory: a URI or local path.
            dst: likewise.
            max_in_flight: how many objects at a time.
            delete: when all is transferred, delete what only ``dst`` has.
            **options: dry_run, checksum, include, exclude, create_bucket, verify, preserve_mtime, continue_on_error,
                progress, cancel, on_action, options: see :func:`s3dlio.transfer.sync.sync`.

        Raises:
            ObjectNotFoundError: there is nothing in ``src``; nothing was deleted.
            InvalidURIError: one directory is inside the other.
            BatchError: objects failed; it has every one of them.
        """
        from s3dlio.transfer.sync import sync

        options.setdefault("cancel", surrounding_token())
        return sync(self, src, dst, max_in_flight=max_in_flight, delete=delete, **options)

    def put(
        self,
        prefix: str,
        num: int = 1,
        template: str | None = None,
        max_in_flight: int = 64,
        size: int | None = None,
        should_create_bucket: bool = False,
        object_type: str = "RAW",
        dedup_factor: int = 1,
        compress_factor: int = 1,
        data_gen_algorithm: str = "random",
        data_gen_mode: str = "streaming",
        chunk_size: int = 256 << 10,
        *,
        elements: int = 1,
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> TransferSummary:
        """Write generated objects, each with other bytes; :meth:`put_bytes` writes data of your own.

        Args:
            prefix: the URI to write under; with ``{}`` in it and no ``template``, it names the objects itself.
            num: how many.
            template: their names: the first ``{}`` is the index, the second is ``num``. Default: ``object-{}``.
            max_in_flight: how many at a time.
            size: bytes of each, or of each of its ``elements``; default 20 MiB.
            should_create_bucket: create the bucket (container, directory) first.
            object_type: the format, in any case.
            dedup_factor: of the 1 MiB blocks of an object, one in so many is unique.
            compress_factor: zstd shrinks the data so many times.
            data_gen_algorithm: ``random``, or ``prand``, quicker and weaker.
            data_gen_mode: ``streaming`` generates ``chunk_size`` bytes at a time, ``single-pass`` whole objects.
            chunk_size: bytes.
            elements: how many records a TFRecord file has, how many rows an array.
            seed: the same bytes at every run.
            progress: is told what moves.

        Raises:
            ConfigError: an argument is unknown or out of range; nothing was written.
            BatchError: objects failed; all others were written.
        """
        from s3dlio.transfer.generate import put_generated

        summary = put_generated(
            self,
            prefix,
            num,
            template=template,
            size=DEFAULT_SIZE if size is None else size,
            max_in_flight=check_width(max_in_flight),
            create_bucket=should_create_bucket,
            object_type=object_type,
            elements=elements,
            dedup=dedup_factor,
            compress=compress_factor,
            algorithm=data_gen_algorithm,
            mode=data_gen_mode,
            chunk_size=chunk_size,
            seed=seed,
            progress=progress,
        )
        summary.raise_for_failures("PUT")
        return summary


def _section(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one section.

    Raises:
        ConfigError: there is no such section, or what was given are no settings; it says what may have been meant.
    """
    if name in SECTIONS and isinstance(values, Mapping):
        return dict(values)
    if name in SECTIONS:
        raise ConfigError(f"{name} is a section of settings", hint=f"write {name}={{'setting': value}}")
    meant = did_you_mean(name, [*inspect.signature(Client).parameters, *SECTIONS])
    raise ConfigError(f"a Client has no argument '{name}'{meant}", hint=f"its sections are {', '.join(SECTIONS)}")


def either(name: str, value: Any, alias: str, other: Any) -> Any:
    """The argument that was given, of a parameter that has two names.

    Raises:
        TypeError: neither was, or both.
    """
    if (value is None) == (other is None):
        raise TypeError(f"give either {name} or {alias}")
    return other if value is None else value


def _unpickled(settings: Settings) -> Client:
    """A client in another process: secrets, which do not travel, are found there anew.

    Raises:
        ConfigError: a secret that was set where the client was made is not set here.
    """
    here = Settings.resolve()
    found: dict[str, dict[str, str]] = {}
    origins: dict[str, str] = {}
    for section, kind in SECTIONS.items():
        for name in secrets(kind):
            if f"{section}.{name}" not in settings.origins:
                continue
            value = getattr(getattr(here, section), name)
            if value is None:
                raise ConfigError(
                    f"secrets are not pickled, and {section}.{name} of this client is not set here",
                    hint="set credentials in the environment, so that other processes find them",
                )
            found.setdefault(section, {})[name] = value
            origins[f"{section}.{name}"] = here.origin(f"{section}.{name}")
    endpoints = with_secrets(settings.endpoints, here.endpoints)
    settings = settings.replace(**found)
    return Client(dataclasses.replace(settings, endpoints=endpoints, origins={**settings.origins, **origins}))
