"""The verbs for one object as coroutines: those of cloud stores run on the event loop, the others on threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from s3dlio.engine.session import Session
from s3dlio.engine.threads import run
from s3dlio.errors import IsDirectoryError, ObjectNotFoundError
from s3dlio.memory.caller_buffer import let_go
from s3dlio.memory.sinks import BufferSink, MemorySink
from s3dlio.memory.sources import as_source
from s3dlio.memory.view import BytesView
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.stores.cloud.store import CloudStore
from s3dlio.types import NO_CONDITIONS, Conditions, ObjectMetadata, Payload, PutOptions
from s3dlio.uri import URI
from s3dlio.verbs.objects import room_in

T = TypeVar("T")


async def get(session: Session, uri: URI, conditions: Conditions) -> BytesView:
    """See ``objects.get``."""
    store, key = await _find(session, uri)
    sink = MemorySink()
    await _perform(session, store, lambda: store.read_call(key, sink, conditions=conditions))
    return sink.view()


async def get_range(
    session: Session, uri: URI, offset: int, length: int | None, conditions: Conditions
) -> BytesView:
    """See ``objects.get_range``."""
    store, key = await _find(session, uri)
    sink = MemorySink()

    def call() -> Call[ObjectMetadata]:
        return store.read_call(key, sink, offset=offset, length=length, conditions=conditions)

    await _perform(session, store, call)
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
    store, key = await _find(session, uri)
    view, exact = room_in(dst, expected_len)
    sink = BufferSink(view, exact=exact)
    try:
        await _perform(session, store, lambda: store.read_call(key, sink, conditions=conditions))
        return sink.size or 0
    finally:
        sink.release()


async def put(session: Session, uri: URI, data: Payload, options: PutOptions) -> None:
    """See ``objects.put_bytes``. When this has ended, by whatever, nothing exports ``data``."""
    try:
        store, key = await _find(session, uri)
        await _perform(session, store, lambda: store.write_call(key, as_source(data), options=options))
    except BaseException as error:
        let_go(error)
        raise


async def head(session: Session, uri: URI, conditions: Conditions) -> ObjectMetadata:
    """See ``objects.head``."""
    store, key = await _find(session, uri)
    return await _perform(session, store, lambda: store.head_call(key, conditions=conditions))


async def exists(session: Session, uri: URI) -> bool:
    """See ``objects.exists``."""
    try:
        await head(session, uri, NO_CONDITIONS)
    except (ObjectNotFoundError, IsDirectoryError):
        return False
    return True


async def delete(session: Session, uri: URI, version_id: str | None) -> None:
    """See ``objects.delete``, of exactly this object."""
    store, key = await _find(session, uri)
    await _perform(session, store, lambda: store.delete_call(key, version_id=version_id))


def at_version(conditions: Conditions, version_id: str | None) -> Conditions:
    """The conditions, of one version of the object where one is named."""
    return conditions if version_id is None else replace(conditions, version_id=version_id)


async def _find(session: Session, uri: URI) -> tuple[ObjectStore, str]:
    stores = session.stores
    if stores.is_open(uri):
        return stores.find(uri)
    return await run(lambda: stores.find(uri))


async def _perform(session: Session, store: ObjectStore, make: Callable[[], Call[T]]) -> T:
    """Run the call that ``make`` makes: on the event loop, or on a thread where the store blocks one."""
    if isinstance(store, CloudStore):
        call = make()
        try:
            return await session.loops.perform(call, store.width_of(call))
        except NotImplementedError:  # an event loop that watches no descriptors, such as that of Windows
            pass
    return await run(lambda: store.execute(make()), to_its_end=True)
