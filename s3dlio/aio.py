"""The blocking functions as coroutine functions; ``api_formats`` has those of the formats, ``coroutines`` runs them."""

from __future__ import annotations

import builtins
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from s3dlio import api
from s3dlio.coroutines import coroutine_of, run
from s3dlio.errors import ObjectNotFoundError
from s3dlio.memory.sources import as_memory
from s3dlio.types import ObjectMetadata, Payload, PutOptions
from s3dlio.uri import URI
from s3dlio.verbs import batches

_URIS_AT_ONCE = 1000


get_async = coroutine_of(api.get_object, name="get_async")
get_object_async = coroutine_of(api.get_object)
get_range_async = coroutine_of(api.get_range)
get_many_async = coroutine_of(api.get_many)
get_many_outcomes_async = coroutine_of(api.get_many_outcomes)
get_many_stats_async = coroutine_of(api.get_many_stats)
put_async = coroutine_of(api.put)
list_async = coroutine_of(api.list)
list_keys_async = coroutine_of(api.list_keys)
list_full_uris_async = coroutine_of(api.list_full_uris)
stat_async = coroutine_of(api.stat)
presign_async = coroutine_of(api.presign)
get_tags_async = coroutine_of(api.get_tags)
put_tags_async = coroutine_of(api.put_tags)
pre_stat_and_cache_async = coroutine_of(api.pre_stat_and_cache)
stat_object_async = coroutine_of(api.stat_object, name="stat_object_async")
stat_many_async = coroutine_of(api.stat_many)
exists_async = coroutine_of(api.exists)
delete_async = coroutine_of(api.delete)
delete_many_async = coroutine_of(api.delete_many)
mkdir_async = coroutine_of(api.mkdir)
rmdir_async = coroutine_of(api.rmdir)
create_bucket_async = coroutine_of(api.create_bucket)
delete_bucket_async = coroutine_of(api.delete_bucket)
list_containers_async = coroutine_of(api.list_containers)
upload_async = coroutine_of(api.upload)
download_async = coroutine_of(api.download)
copy_async = coroutine_of(api.copy)
move_async = coroutine_of(api.move)
sync_async = coroutine_of(api.sync)


async def get_into_async(uri: URI, dst: Any, *, expected_len: int | None = None) -> int:
    """Read an object into a writable buffer, which must stay alone until this has ended. See ``get_into``.

    A cancelled one ends when the read has been given up: nothing is written to the buffer afterwards.
    """
    return await run(lambda: api.get_into(uri, dst, expected_len=expected_len), to_its_end=True)


async def head_async(uri: URI) -> ObjectMetadata | None:
    """What the store tells about an object; None where there is none."""

    def head() -> ObjectMetadata | None:
        try:
            return api.head(uri)
        except ObjectNotFoundError:
            return None

    return await run(head)


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
    await run(
        lambda: api.put_bytes(
            uri, payload, content_type=content_type, metadata=metadata, if_match=if_match,
            if_none_match=if_none_match, options=options,
        ),
        to_its_end=borrow,
    )  # fmt: skip


async def put_many_async(
    items: Iterable[tuple[URI, Payload]], max_in_flight: int = 64, *, borrow: bool = True
) -> None:
    """Write many objects, see ``put_many``; ``borrow`` as of :func:`put_bytes_async`."""
    pairs = builtins.list(items) if borrow else [(uri, bytes(as_memory(data))) for uri, data in items]
    await run(lambda: api.put_many(pairs, max_in_flight), to_its_end=borrow)


iter_many_async = api.function_of(batches.iter_many_async, __name__)


async def iterate_async(uri: URI, recursive: bool = False, pattern: str | None = None) -> AsyncIterator[str]:
    """The URIs of ``list``, while the store lists them."""
    uris = await run(lambda: api.iterate(uri, recursive, pattern))  # may look for credentials
    while some := await run(lambda: builtins.list(itertools.islice(uris, _URIS_AT_ONCE))):
        for found in some:
            yield found
