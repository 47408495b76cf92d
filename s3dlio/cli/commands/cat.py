"""``cat``, ``head``, ``tail``: bytes of objects on standard output."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from s3dlio.cli.context import Context
from s3dlio.errors import S3dlioError
from s3dlio.memory.sinks import MemorySink
from s3dlio.memory.view import BytesView
from s3dlio.records import replace
from s3dlio.types import Conditions

#: Bytes of one read; while one is written the next is on its way.
PIECE = 8 << 20

#: So many bytes at the end of an object are read by one request.
TAIL_AT_ONCE = 64 << 20

_HINT = "name an object in it, as ls shows them"


def cat(context: Context) -> None:
    """All bytes of every object."""
    context.each(context.args.uris, lambda uri: print_object(context, uri))


def head(context: Context) -> None:
    """The first bytes."""
    context.each(context.args.uris, lambda uri: print_object(context, uri, 0, context.args.bytes))


def tail(context: Context) -> None:
    """The last bytes."""
    context.each(context.args.uris, lambda uri: _print_end(context, uri, context.args.bytes))


def _print_end(context: Context, uri: str, count: int) -> None:
    store, key = context.client.store_for(uri)
    sink = MemorySink()
    with context.one_object(uri, _HINT):
        # A long tail is read in pieces. Reading the last byte gives the size, and so where it begins.
        last = count if count <= TAIL_AT_ONCE else 1
        size = store.execute(store.tail_call(key, sink, last, conditions=version_of(context))).size
        begin = max(0, size - count)
        if count > TAIL_AT_ONCE:
            _print_pieces(context, uri, begin, count)
            return
        view = sink.view()
        for start in range(0, len(view), PIECE):
            context.out.data({"uri": uri, "offset": begin + start}, view[start : start + PIECE])


def print_object(context: Context, uri: str, offset: int = 0, length: int | None = None) -> None:
    """``length`` bytes of an object from ``offset`` on, or what there is of them, on standard output."""
    with context.one_object(uri, _HINT):
        _print_pieces(context, uri, offset, length)


def _print_pieces(context: Context, uri: str, offset: int, length: int | None) -> None:
    for piece in pieces(context, uri, offset, length):
        context.out.data({"uri": uri, "offset": offset}, piece)
        offset += len(piece)


def version_of(context: Context) -> Conditions:
    """The version that the command line names, where it names one."""
    return Conditions(version_id=getattr(context.args, "version_id", None))


def pieces(context: Context, uri: str, offset: int, length: int | None) -> Iterator[BytesView]:
    """The bytes from ``offset`` on, in order, ``PIECE`` at a time, all of one version of the object.

    Raises:
        PreconditionFailedError: the object was replaced meanwhile.
    """
    client = context.client
    store, key = client.store_for(uri)
    left = length

    def read(start: int, count: int, conditions: Conditions) -> tuple[BytesView, int, Conditions]:
        sink = MemorySink()
        try:
            told = store.execute(store.read_call(key, sink, offset=start, length=count, conditions=conditions))
        except S3dlioError as error:
            error.operation = "GET"  # the user asked for one read: the pieces are not shown
            raise
        return sink.view(), told.size, replace(conditions, if_match=told.etag)

    view, size, same = read(offset, PIECE if left is None else min(PIECE, left), version_of(context))
    end = size if length is None else min(size, offset + length)
    while True:
        offset += len(view)
        following = None
        if offset < end:
            following = client.executor.submit(functools.partial(read, offset, min(PIECE, end - offset), same))
        if view:
            yield view
        if following is None:
            return
        view, _, _ = following.result()
