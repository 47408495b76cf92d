"""The client: settings, credentials, threads, one store for each container, and every verb over URIs.

The functions of the package (``s3dlio.get`` and the others) are the methods of one default client.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self

from s3dlio.config.endpoints import with_secrets
from s3dlio.config.fields import secrets
from s3dlio.config.settings import SECTIONS, Settings
from s3dlio.engine.session import Session
from s3dlio.errors import ConfigError
from s3dlio.records import replace
from s3dlio.signatures import refuses_unknown
from s3dlio.types import Observer
from s3dlio.verbs import (
    batches,
    containers,
    endpoints,
    files,
    generated,
    history,
    listing,
    looking,
    objects,
    trees,
    writers,
)


class Client(Session):
    """Access to objects by URI. Safe to share among threads and to use in a forked child; a context manager.

    It pickles by its settings, without secrets: where it is unpickled, credentials are found again. Observers stay
    behind.

    Args:
        settings: all of them, ready; without, they are resolved (``Settings.resolve``).
        endpoint_url, region, profile, access_key_id, secret_access_key, session_token, anonymous: of ``s3://``.
        endpoints: several doors to one S3 store instead of ``endpoint_url``, URLs or templates of them
            (``http://10.0.0.{1...8}:9000``), 32 at most: all requests are spread over them.
        load_balance_strategy: how: ``round_robin`` (the default), ``least_connections``, ``shortest_expected_wait``, or
            ``rank`` (that of MPI or Slurm).
        source_addresses: addresses of this machine that connections are made from, each in its turn.
        ca_bundle: a PEM file of the certificates to trust.
        http, retry, range, multipart, executor, transfer, cluster, file, s3, azure, gcs: any other settings, one
            mapping for each section: ``http={"read_timeout": 5}``.

    Raises:
        ConfigError: an unknown setting, or a value of the wrong type.
    """

    @refuses_unknown(ConfigError, "a Client", f"its sections are {', '.join(SECTIONS)}")
    def __init__(
        self,
        settings: Settings | None = None,
        *,
        endpoint_url: str | None = None,
        endpoints: Sequence[str] | str | None = None,
        load_balance_strategy: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        anonymous: bool | None = None,
        ca_bundle: str | None = None,
        source_addresses: Sequence[str] | str | None = None,
        http: Mapping[str, Any] | None = None,
        retry: Mapping[str, Any] | None = None,
        range: Mapping[str, Any] | None = None,
        multipart: Mapping[str, Any] | None = None,
        executor: Mapping[str, Any] | None = None,
        transfer: Mapping[str, Any] | None = None,
        cluster: Mapping[str, Any] | None = None,
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
        if endpoint_url is not None and endpoints is not None:
            raise ConfigError("endpoint_url and endpoints exclude each other", hint="leave one of them out")
        sections = {
            "http": http, "retry": retry, "range": range, "multipart": multipart, "executor": executor,
            "transfer": transfer, "cluster": cluster, "file": file, "s3": s3, "azure": azure, "gcs": gcs,
        }  # fmt: skip
        given = {name: _section(name, values) for name, values in sections.items() if values is not None}
        service = {
            "endpoint_url": endpoint_url, "endpoints": endpoints, "load_balance_strategy": load_balance_strategy,
            "region": region, "profile": profile, "access_key_id": access_key_id,
            "secret_access_key": secret_access_key, "session_token": session_token, "anonymous": anonymous,
        }  # fmt: skip
        given["s3"] = service | given.get("s3", {})
        given["http"] = {"ca_bundle": ca_bundle, "source_addresses": source_addresses} | given.get("http", {})
        super().__init__(Settings.resolve(**given) if settings is None else settings.replace(**given))

    def close(self) -> None:
        """Wait for running batches and calls, let the threads go and close idle connections. The client can be used
        again.

        Connections are shared by all clients with the same ``http`` settings: those that are in use stay.
        """
        self.executor.shutdown()
        self.stores.close_lanes()
        self.close_loops()
        self.close_processes()
        # Where no service was talked to, the module was never imported and need not be.
        if pools := sys.modules.get("s3dlio.net.pool"):
            settings = self.settings
            named = (settings.at(endpoint.name).http for endpoint in settings.endpoints)
            for http in {settings.http, *named, *self.stores.http()}:
                pools.close_idle(http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        service = self.settings.s3.endpoint_url
        if self.settings.s3.endpoints:
            return f"Client(endpoints={[*self.settings.s3.endpoints]})"
        return f"Client(endpoint_url={service!r})" if service else "Client()"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.settings,)

    def add_observer(self, observer: Observer) -> None:
        """Call ``observer`` for every operation that begins from now on, when it has ended."""
        self.stores.add_observer(observer)

    def remove_observer(self, observer: Observer) -> None:
        """Remove an observer; one that is not there is no error."""
        self.stores.remove_observer(observer)

    # Methods are functions of a session: the functions of the package are the same ones.

    get = objects.get
    get_to_file = objects.get_to_file
    get_range = objects.get_range
    get_into = objects.get_into
    put_bytes = objects.put_bytes
    head = objects.head
    stat = objects.stat
    exists = objects.exists
    delete = objects.delete
    presign = objects.presign
    get_tags = objects.get_tags
    put_tags = objects.put_tags

    open = files.open

    mkdir = containers.mkdir
    rmdir = containers.rmdir
    create_bucket = containers.create_bucket
    delete_bucket = containers.delete_bucket
    list_containers = containers.list_containers

    get_endpoint_stats = endpoints.get_endpoint_stats
    get_total_stats = endpoints.get_total_stats

    list_versions = history.list_versions
    restore_version = history.restore_version
    delete_versions = history.delete_versions
    list_uploads = history.list_uploads
    abort_uploads = history.abort_uploads

    get_many = batches.get_many
    get_many_outcomes = batches.get_many_outcomes
    get_many_stats = batches.get_many_stats
    iter_many = batches.iter_many
    iter_many_async = batches.iter_many_async
    put_many = batches.put_many
    stat_many = batches.stat_many
    pre_stat_and_cache = batches.pre_stat_and_cache
    delete_many = batches.delete_many

    put = generated.put

    select = listing.select
    iterate = listing.iterate
    list = listing.list
    list_keys = listing.list_keys
    list_full_uris = listing.list_full_uris
    find = looking.find
    check = looking.check

    upload = trees.upload
    download = trees.download
    copy = trees.copy
    move = trees.move
    sync = trees.sync

    create_stream_writer = create_writer = get_writer = writers.create_stream_writer
    get_writer_with_compression = writers.get_writer_with_compression
    create_s3_writer = writers.create_s3_writer
    create_azure_writer = writers.create_azure_writer
    create_gcs_writer = writers.create_gcs_writer
    create_filesystem_writer = writers.create_filesystem_writer
    create_direct_filesystem_writer = writers.create_direct_filesystem_writer



def _section(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one section.

    Raises:
        ConfigError: what was given are no settings.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{name} is a section of settings", hint=f"write {name}={{'setting': value}}")
    return dict(values)


def _unpickled(settings: Settings) -> Client:
    """A client in another process: secrets, which do not travel, are found there again.

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
    return Client(replace(settings, endpoints=endpoints, origins={**settings.origins, **origins}))
