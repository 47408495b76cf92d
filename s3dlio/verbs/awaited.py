"""The verbs for one object as coroutines: those of cloud stores run on the event loop, the others on threads."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar, cast

from s3dlio.engine.session import Session
from s3dlio.engine.threads import run
from s3dlio.errors import InvalidURIError, IsDirectoryError, ObjectNotFoundError
from s3dlio.memory.caller_buffer import let_go
from s3dlio.memory.sinks import BufferSink, MemorySink
from s3dlio.memory.sources import as_source
from s3dlio.memory.view import BytesView
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.stores.cloud.store import CloudStore
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, Payload, PutOptions
from s3dlio.uri import URI
from s3dlio.verbs.objects import room_in

T = TypeVar("T")


async def get(session: Session, uri: URI, conditions: Conditions) -> BytesView:
    """See ``objects.get``."""
    store, key = session.stores.opened(uri) or await _opened(session, uri)
    loops = session.loops_made or session.loops
    if not store.is_cloud or (lane := loops.lane()) is None:
        return await run(lambda: store.get(key, conditions=conditions))
    sink = MemorySink()
    call = store.read_call(key, sink, conditions=conditions)
    waiting = loops.begin(call, store.width_of(call), lane)  # type: ignore[attr-defined]  # of cloud stores
    try:
        await waiting.future
    except BaseException as error:
        await waiting.ended_by(error)
        raise
    return sink.view()


async def get_range(
    session: Session, uri: URI, offset: int, length: int | None, conditions: Conditions
) -> BytesView:
    """See ``objects.get_range``."""
    store, key = session.stores.opened(uri) or await _opened(session, uri)
    if not store.is_cloud:
        return await run(lambda: store.get_range(key, offset, length, conditions=conditions))
    sink = MemorySink()
    await _perform(session, store, store.read_call(key, sink, offset=offset, length=length, conditions=conditions))
    return sink.view()


async def get_into(
    session: Session, uri: URI, dst: Any, expected_len: int | None, conditions: Conditions
) -> int:
    """See ``objects.get_into``. When this has ended, by whatever, nothing exports ``dst``."""
    try:
        return await _get_into(session, uri, dst, expected_len, conditions)
    except BaseException as error:
        let_go(error)
        raise


async def _get_into(session: Session, uri: URI, dst: Any, expected_len: int | None, conditions: Conditions) -> int:
    store, key = session.stores.opened(uri) or await _opened(session, uri)
    view, exact = room_in(dst, expected_len)
    if not store.is_cloud:
        return await run(lambda: store.fill(key, view, exact, conditions), to_its_end=True)
    sink = BufferSink(view, exact=exact)
    try:
        await _perform(session, store, store.read_call(key, sink, conditions=conditions))
        return sink.size or 0
    finally:
        sink.release()


async def put(session: Session, uri: URI, data: Payload, options: PutOptions) -> None:
    """See ``objects.put_bytes``. When this has ended, by whatever, nothing exports ``data``."""
    try:
        store, key = session.stores.opened(uri) or await _opened(session, uri)
        if store.is_cloud:
            await _perform(session, store, store.write_call(key, as_source(data), options=options))
        else:
            await run(lambda: store.put(key, data, options=options), to_its_end=True)
    except BaseException as error:
        let_go(error)
        raise


async def head(session: Session, uri: URI, conditions: Conditions) -> ObjectMetadata:
    """See ``objects.head``."""
    store, key = session.stores.opened(uri) or await _opened(session, uri)
    if not store.is_cloud:
        return await run(lambda: store.head(key, conditions=conditions))
    return await _perform(session, store, store.head_call(key, conditions=conditions))


async def exists(session: Session, uri: URI) -> bool:
    """See ``objects.exists``."""
    try:
        await head(session, uri, NO_CONDITIONS)
    except (ObjectNotFoundError, IsDirectoryError):
        return False
    except InvalidURIError:
        if session.store_for(uri)[1]:  # a container, which has no key, is no object, as a directory is none
            raise
        return False
    return True


async def delete(session: Session, uri: URI, version_id: str | None) -> None:
    """See ``objects.delete``, of exactly this object."""
    store, key = session.stores.opened(uri) or await _opened(session, uri)
    if not store.is_cloud:
        await run(lambda: store.delete(key, version_id=version_id))
        return
    await _perform(session, store, store.delete_call(key, version_id=version_id))


def at_version(conditions: Conditions, version_id: str | None) -> Conditions:
    """The conditions, of one version of the object where one is named."""
    return conditions if version_id is None else replace(conditions, version_id=version_id)


async def _opened(session: Session, uri: URI) -> tuple[ObjectStore, str]:
    return await run(lambda: session.stores.find(uri))


def _perform(session: Session, store: ObjectStore, call: Call[T]) -> Awaitable[T]:
    """Run a call of a cloud store on the event loop; on a thread, where the loop watches no descriptors (Windows)."""
    cloud = cast(CloudStore, store)
    loops = session.loops_made or session.loops
    if (lane := loops.lane()) is None:
        return run(lambda: cloud.execute(call), to_its_end=True)
    return loops.perform(call, cloud.width_of(call), lane)
