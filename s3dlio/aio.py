"""The blocking functions as coroutine functions; ``api_formats`` has those of the formats, ``coroutines`` runs them."""

from __future__ import annotations

import builtins
import itertools
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from s3dlio import api
from s3dlio.coroutines import coroutine_of, run
from s3dlio.errors import ObjectNotFoundError
from s3dlio.memory.sources import as_memory
from s3dlio.memory.view import BytesView
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, Payload, PutOptions
from s3dlio.uri import URI, in_bucket
from s3dlio.verbs import awaited, batches
from s3dlio.verbs.objects import put_options, verifies_puts

if TYPE_CHECKING:
    from s3dlio.streams.async_writer import AsyncObjectWriter
    from s3dlio.transfer.find import FoundObject
    from s3dlio.verbs.writers import Options

_URIS_AT_ONCE = 1000


get_many_async = coroutine_of(api.get_many)
get_many_outcomes_async = coroutine_of(api.get_many_outcomes)
get_many_stats_async = coroutine_of(api.get_many_stats)
put_async = coroutine_of(api.put)
list_async = coroutine_of(api.list)
list_keys_async = coroutine_of(api.list_keys)
list_full_uris_async = coroutine_of(api.list_full_uris)
presign_async = coroutine_of(api.presign)
get_tags_async = coroutine_of(api.get_tags)
put_tags_async = coroutine_of(api.put_tags)
pre_stat_and_cache_async = coroutine_of(api.pre_stat_and_cache)
stat_many_async = coroutine_of(api.stat_many)
delete_many_async = coroutine_of(api.delete_many)
mkdir_async = coroutine_of(api.mkdir)
rmdir_async = coroutine_of(api.rmdir)
create_bucket_async = coroutine_of(api.create_bucket)
delete_bucket_async = coroutine_of(api.delete_bucket)
list_containers_async = coroutine_of(api.list_containers)
list_versions_async = coroutine_of(api.list_versions)
restore_version_async = coroutine_of(api.restore_version)
delete_versions_async = coroutine_of(api.delete_versions)
list_uploads_async = coroutine_of(api.list_uploads)
abort_uploads_async = coroutine_of(api.abort_uploads)
upload_async = coroutine_of(api.upload)
download_async = coroutine_of(api.download)
copy_async = coroutine_of(api.copy)
move_async = coroutine_of(api.move)
sync_async = coroutine_of(api.sync)
check_async = coroutine_of(api.check)


async def get_async(
    uri: URI, key: str | None = None, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
) -> BytesView:
    """Read an object. See ``get_object``."""
    if key is not None:
        uri = in_bucket(uri, key)
    if version_id is not None:
        conditions = awaited.at_version(conditions, version_id)
    return await awaited.get(api._default or api.default_client(), uri, conditions)


async def get_object_async(
    uri: URI, key: str | None = None, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
) -> BytesView:
    """Read an object. See ``get_object``."""
    return await get_async(uri, key, version_id=version_id, conditions=conditions)


async def get_range_async(
    uri: URI, offset: int, length: int | None = None, *, conditions: Conditions = NO_CONDITIONS
) -> BytesView:
    """Read ``length`` bytes from ``offset`` on, to the end without a length. See ``get_range``."""
    return await awaited.get_range(api._default or api.default_client(), uri, offset, length, conditions)


async def get_into_async(
    uri: URI, dst: Any, *, expected_len: int | None = None, conditions: Conditions = NO_CONDITIONS
) -> int:
    """Read an object into a writable buffer, which must stay alone until this has ended. See ``get_into``.

    A cancelled one ends when the read has been given up: nothing is written to the buffer afterwards.
    """
    return await awaited.get_into(api._default or api.default_client(), uri, dst, expected_len, conditions)


async def head_async(uri: URI) -> ObjectMetadata | None:
    """What the store tells about an object; None where there is none."""
    try:
        return await awaited.head(api._default or api.default_client(), uri, NO_CONDITIONS)
    except ObjectNotFoundError:
        return None


async def stat_async(
    uri: URI, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
) -> dict[str, Any]:
    """What the store tells about an object, as a dictionary. See ``stat``."""
    about = await awaited.head(api._default or api.default_client(), uri, awaited.at_version(conditions, version_id))
    return about.as_dict()


async def stat_object_async(
    uri: URI, *, version_id: str | None = None, conditions: Conditions = NO_CONDITIONS
) -> dict[str, Any]:
    """What the store tells about an object, as a dictionary. See ``stat``."""
    return await stat_async(uri, version_id=version_id, conditions=conditions)


async def exists_async(uri: URI) -> bool:
    """Whether there is such an object; False for a directory. See ``exists``."""
    return await awaited.exists(api._default or api.default_client(), uri)


async def delete_async(
    uri: URI, recursive: bool = False, pattern: str | None = None, *, version_id: str | None = None
) -> None:
    """Delete an object, or everything that a URI selects. See ``delete``."""
    if recursive or pattern is not None or "*" in os.fspath(uri):
        await run(lambda: api.delete(uri, recursive, pattern, version_id=version_id))
    else:
        await awaited.delete(api._default or api.default_client(), uri, version_id)


async def put_bytes_async(
    uri: URI,
    data: Payload,
    *,
    borrow: bool = True,
    content_type: str | None = None,
    metadata: Mapping[str, str] | None = None,
    if_match: str | None = None,
    if_none_match: str | None = None,
    options: PutOptions | None = None,
) -> None:
    """Write an object.

    Args:
        uri, data: as of ``put_bytes``.
        borrow: send the buffer itself; it must not change until this has ended, which a cancelled one does when the
            write has been given up. False copies it first, when the coroutine begins.
        content_type, metadata, if_match, if_none_match, options: as of ``put_bytes``.
    """
    payload = data if borrow else bytes(as_memory(data))
    client = api.default_client()
    options = put_options(content_type, metadata, if_match, if_none_match, options)
    if verifies_puts(client):
        await run(lambda: api.put_bytes(uri, payload, options=options), to_its_end=borrow)
    else:
        await awaited.put(client, uri, payload, options)


async def put_many_async(
    items: Iterable[tuple[URI, Payload]], max_in_flight: int = 64, *, borrow: bool = True
) -> None:
    """Write many objects, see ``put_many``; ``borrow`` as of :func:`put_bytes_async`."""
    pairs = builtins.list(items) if borrow else [(uri, bytes(as_memory(data))) for uri, data in items]
    await run(lambda: api.put_many(pairs, max_in_flight), to_its_end=borrow)


async def create_stream_writer_async(uri: URI, options: Options = None) -> AsyncObjectWriter:
    """Open a streaming writer whose calls are awaited. See ``create_stream_writer``."""
    from s3dlio.streams.async_writer import AsyncObjectWriter

    return AsyncObjectWriter(await run(lambda: api.create_stream_writer(uri, options)))


iter_many_async = api.function_of(batches.iter_many_async, __name__)


async def find_async(
    uri: URI,
    *,
    name: str | Iterable[str] = (),
    iname: str | Iterable[str] = (),
    path: str | Iterable[str] = (),
    regex: str | None = None,
    min_size: int | str | None = None,
    max_size: int | str | None = None,
    min_age: Any = None,
    max_age: Any = None,
    max_depth: int | None = None,
) -> AsyncIterator[FoundObject]:
    """The objects of ``find``, while the store lists them."""
    looked: Iterator[FoundObject] = await run(
        lambda: api.find(
            uri, name=name, iname=iname, path=path, regex=regex, min_size=min_size, max_size=max_size,
            min_age=min_age, max_age=max_age, max_depth=max_depth,
        )
    )  # fmt: skip
    while some := await run(lambda: builtins.list(itertools.islice(looked, _URIS_AT_ONCE))):
        for found in some:
            yield found


async def iterate_async(uri: URI, recursive: bool = False, pattern: str | None = None) -> AsyncIterator[str]:
    """The URIs of ``list``, while the store lists them."""
    uris = await run(lambda: api.iterate(uri, recursive, pattern))  # may look for credentials
    while some := await run(lambda: builtins.list(itertools.islice(uris, _URIS_AT_ONCE))):
        for found in some:
            yield found
