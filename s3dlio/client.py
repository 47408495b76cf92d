"""The client: settings, credentials, threads, one store for each container, and every verb over URIs.

The functions of the package (``s3dlio.get`` and the others) are the methods of one default client.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from s3dlio.config.endpoints import with_secrets
from s3dlio.config.fields import secrets
from s3dlio.config.settings import SECTIONS, Settings
from s3dlio.errors import ConfigError
from s3dlio.signatures import refuses_unknown
from s3dlio.transfer.many import check_width
from s3dlio.trees import TreeVerbs
from s3dlio.types import Observer

if TYPE_CHECKING:
    from s3dlio.transfer.progress import Progress
    from s3dlio.transfer.summary import TransferSummary

DEFAULT_SIZE = 20 << 20


class Client(TreeVerbs):
    """Access to objects by URI. Safe to share among threads and to use in a forked child; a context manager.

    It pickles by its settings, without secrets: where it is unpickled, credentials are found anew. Observers stay
    behind.

    Args:
        settings: all of them, ready; without, they are resolved (``Settings.resolve``).
        endpoint_url, region, profile, access_key_id, secret_access_key, session_token, anonymous: of ``s3://``.
        ca_bundle: a PEM file of the certificates to trust.
        http, retry, range, multipart, executor, transfer, file, s3, azure, gcs: any other settings, one mapping for
            each section: ``http={"read_timeout": 5}``.

    Raises:
        ConfigError: an unknown setting, or a value of the wrong type.
    """

    @refuses_unknown(ConfigError, "a Client", f"its sections are {', '.join(SECTIONS)}")
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
        http: Mapping[str, Any] | None = None,
        retry: Mapping[str, Any] | None = None,
        range: Mapping[str, Any] | None = None,
        multipart: Mapping[str, Any] | None = None,
        executor: Mapping[str, Any] | None = None,
        transfer: Mapping[str, Any] | None = None,
        file: Mapping[str, Any] | None = None,
        s3: Mapping[str, Any] | None = None,
        azure: Mapping[str, Any] | None = None,
        gcs: Mapping[str, Any] | None = None,
    ) -> None:
        if settings is not None and not isinstance(settings, Settings):
            raise ConfigError(
                f"the first argument of a Client is its Settings, not a {type(settings).__name__}",
                hint="name what you give: Client(endpoint_url=...)",
            )
        sections = {
            "http": http, "retry": retry, "range": range, "multipart": multipart, "executor": executor,
            "transfer": transfer, "file": file, "s3": s3, "azure": azure, "gcs": gcs,
        }  # fmt: skip
        given = {name: _section(name, values) for name, values in sections.items() if values is not None}
        service = {
            "endpoint_url": endpoint_url, "region": region, "profile": profile, "access_key_id": access_key_id,
            "secret_access_key": secret_access_key, "session_token": session_token, "anonymous": anonymous,
        }  # fmt: skip
        given["s3"] = service | given.get("s3", {})
        given["http"] = {"ca_bundle": ca_bundle} | given.get("http", {})
        super().__init__(Settings.resolve(**given) if settings is None else settings.replace(**given))

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
        ConfigError: what was given are no settings.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} is a section of settings", hint=f"write {name}={{'setting': value}}")
    return dict(values)


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
