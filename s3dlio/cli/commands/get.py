"""``get``: read objects and discard their bytes, a read benchmark; with ``-o`` keep them."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from s3dlio.cli.commands.cat import print_object
from s3dlio.cli.commands.ls import TOTAL
from s3dlio.cli.commands.pipe import PIPE
from s3dlio.cli.context import Context
from s3dlio.cli.streams import open_input, standard_input
from s3dlio.cli.summary import finish
from s3dlio.engine.admission import Admission
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken
from s3dlio.engine.prefetch import Prefetcher
from s3dlio.errors import InvalidURIError, ObjectNotFoundError, TransferCancelledError
from s3dlio.foreign_errors import from_os_error
from s3dlio.memory.sinks import DiscardSink
from s3dlio.stores.base import ObjectStore
from s3dlio.stores.call import Call
from s3dlio.transfer.divided import merged
from s3dlio.transfer.glob import is_glob
from s3dlio.transfer.places import place_uri
from s3dlio.transfer.progress import Progress, reporting
from s3dlio.transfer.summary import Tally, TransferSummary
from s3dlio.transfer.times import Times
from s3dlio.types import Conditions, ObjectMetadata
from s3dlio.uri import is_directory_like

Read = Call[ObjectMetadata]

#: How lines of a key list begin that are no URIs: ``s3-cli ls`` can be piped into ``get --keylist -``.
_NOT_URIS = ("#", TOTAL)
#: What a small object takes besides its bytes, as so many of them.
_EACH = 256 << 10


def run(context: Context) -> None:
    """One object, a range of it, everything that a URI selects, or a list of URIs."""
    args = context.args
    ranged = args.offset is not None or args.length is not None
    if (args.uri is None) == (args.keylist is None):
        context.refuse("either URI or --keylist FILE must be given")
    if args.keylist and (args.recursive or args.pattern):
        context.refuse("-r and -p select below a URI, and not in a --keylist")
    if ranged and (args.keylist or args.recursive or args.pattern):
        context.refuse("--offset and --length read a range of one object: give its URI alone")
    if args.procs > 1 and (ranged or args.output is not None):
        context.refuse("--procs reads whole objects and drops their bytes; to keep them: download --procs")
    if args.version_id is not None and (args.keylist or args.recursive or args.pattern or args.procs > 1):
        context.refuse("--version-id names one version of one object: give its URI alone")
    if args.keylist == "-" and context.group.size > 1:
        context.refuse("'-' is standard input, which several processes do not share: give --keylist a file")
    if args.output == PIPE:
        _print(context)
        return
    if args.output is not None:
        if ranged or args.keylist:
            context.refuse("-o keeps what a URI selects, and neither a range nor a --keylist")
        if args.version_id is not None:
            _keep_version(context)
            return
        from s3dlio.cli.commands.transfers import keep  # a benchmark does not wait for what it does not use

        keep(context)
        return
    with reporting(context.bar("GET")) as progress:
        calls = _calls(context, progress)
        listed = args.keylist is None or context.group.size > 1  # they may come from a listing, or another process
        ahead = Prefetcher(calls) if listed else None
        try:
            run = _read_all if args.procs == 1 else _read_on_processes
            summary = run(context, ahead or calls, progress, ahead)
        finally:
            if ahead is not None:
                ahead.close()
    if not summary.attempted:
        raise ObjectNotFoundError(
            f"No objects found for '{args.uri or args.keylist}' "
            "(a URI selects an exact name or a directory; use '*' to select by prefix)"
        )
    if ranged:
        first = args.offset or 0
        last = "EOF" if args.length is None else first + args.length - 1
        wanted = f"Range GET of no bytes at {first}" if args.length == 0 else f"Range GET bytes {first}-{last}"
        context.out.note(f"{wanted}: {_pace(summary)}")
    elif args.keylist is not None:
        context.out.note(f"Benchmarked {summary.succeeded} objects: {_pace(summary)}")
    with context.one_object(args.uri, "write '/' behind it to read what is in it, or use -r"):
        finish(context.out, "GET", summary)


def _pace(summary: TransferSummary) -> str:
    """Bytes and rate, as scripts that were written for the Rust package's command look for them."""
    rate = summary.bytes / summary.seconds / 1e6 if summary.seconds else 0.0
    return f"{summary.bytes} bytes in {summary.seconds:.3f}s ({rate:.2f} MB/s)"


def _print(context: Context) -> None:
    """One object, or a range of it, to standard output."""
    args = context.args
    if context.group.size > 1:
        context.refuse("'-' is standard output, which several processes do not share")
    if args.keylist or args.recursive or args.pattern:
        context.refuse("'-' is standard output, which takes one object: give its URI alone")
    print_object(context, place_uri(args.uri), args.offset or 0, args.length)


def _keep_version(context: Context) -> None:
    """One version of an object, to a file."""
    args, tally = context.args, Tally()
    tally.start()
    client = context.client
    tally.succeed(client.group.first(lambda: client.get_to_file(args.uri, args.output, version_id=args.version_id)))
    finish(context.out, "GET", tally.summary())


def _calls(context: Context, progress: Progress) -> Iterator[Read]:
    """The reads of this process; of several that read together, the first one finds out what there is."""
    args, client = context.args, context.client
    group = client.group
    options: dict[str, Any] = {}
    if args.offset is not None or args.length is not None or args.version_id is not None:
        options = {"offset": args.offset or 0, "length": args.length}
        options["conditions"] = Conditions(version_id=args.version_id)
    wanted = _wanted(context)
    if group.size > 1:
        named = ((store.uri(key), size) for store, key, size in wanted)
        wanted = ((*client.store_for(uri), size) for uri, size in group.deal(named, lambda one: _EACH + one[1]))
    for store, key, size in wanted:
        progress.add(1, size)
        yield store.read_call(key, DiscardSink(), **options)


def _wanted(context: Context) -> Iterator[tuple[ObjectStore, str, int]]:
    """What is read, and its size as far as that is known."""
    args, client = context.args, context.client
    if args.keylist is not None:
        uris = _keylist(args.keylist)
        context.out.note(f"Processing {len(uris)} URIs from keylist with concurrency {args.jobs}")
        for store, key in [client.store_for(uri) for uri in uris]:  # every URI is checked before the first is read
            yield store, key, 0
        return
    store, key = client.store_for(args.uri)
    one = not (args.recursive or args.pattern or is_directory_like(key) or is_glob(key))
    if one or args.version_id is not None:
        yield store, key, args.length or 0
        return
    recursive = args.recursive or is_directory_like(key)
    for _, page in client.select(args.uri, recursive=recursive, pattern=args.pattern):
        for entry in page.entries:
            yield store, entry.key, max(0, entry.size)


def _keylist(path: str) -> list[str]:
    """The URIs in a file, one a line or each before a NUL, as they are or as ``uri`` of a JSON object, where a URI may
    hold a line break.

    Blank lines, comments and the last line of ``ls`` do not count.

    Raises:
        InvalidURIError: a line begins like JSON and is none.
        LocalIOError: the file cannot be read.
    """
    try:
        if path == "-":
            text = standard_input().read()
        else:
            with open_input(path) as file:
                text = file.read()
    except OSError as exc:
        raise from_os_error(exc, uri=os.path.abspath(path), operation="read") from exc
    uris: list[str] = []
    for number, line in enumerate(text.split("\0" if "\0" in text else "\n"), 1):
        if line.startswith("{"):
            uris += _from_json(line, number)
        elif line.strip() and not line.startswith(_NOT_URIS):
            uris.append(line if "\0" in text else line.rstrip("\r"))
    return uris


def _from_json(line: str, number: int) -> list[str]:
    """The URI of an entry, as ``ls --json`` writes it; none of its last line."""
    import json

    try:
        record = json.loads(line)
        return [] if "operation" in record else [str(record["uri"])]
    except (ValueError, KeyError) as exc:
        raise InvalidURIError(
            f"line {number} of the keylist is neither a URI nor an entry of ls --json", hint="write one URI a line"
        ) from exc


def _read_all(
    context: Context, calls: Iterable[Read | None], progress: Progress, ahead: Prefetcher[Read] | None
) -> TransferSummary:
    """Run the reads; the bytes are counted as each sink saw them."""
    args, client = context.args, context.client
    executor, admission = client.executor, Admission.of(client.settings.transfer, args.jobs)  # before the clock starts
    tally = Tally(progress)
    times = tally.times = Times()
    cancel = CancelToken()
    in_flight: dict[int, tuple[int, Read]] = {}

    def counted() -> Iterator[Read | None]:
        for call in calls:
            if call is not None:
                in_flight[tally.start()] = time.time_ns(), call
            yield call

    def done(index: int, told: ObjectMetadata | None, error: BaseException | None) -> None:
        start, call = in_flight.pop(index)
        if error is None:
            assert call.sink is not None
            times.add(start, call.sink.first_byte_ns)
            tally.succeed(call.sink.size or 0)
        elif cancel.cancelled and isinstance(error, TransferCancelledError):
            tally.give_up()
        else:
            tally.fail(index, call.uri, error)
            if not args.continue_on_error:
                cancel.cancel("another object failed")

    group = client.group
    client.stores.prepare()  # before the clock of the first object starts
    with group.stoppable(cancel.cancel) as stop_others, tally.running(client.stores):
        run_calls(counted(), admission=admission, on_done=done, cancel=cancel, executor=executor, ahead=ahead)
        _tell_failure(tally, args, stop_others)
    return merged(group, tally).summary()


def _tell_failure(tally: Tally, args: argparse.Namespace, stop_others: Callable[[str], None]) -> None:
    if tally.failures and not args.continue_on_error:
        stop_others(f"{tally.failures[0].uri} failed")


def _read_on_processes(
    context: Context, calls: Iterable[Read | None], progress: Progress, ahead: Prefetcher[Read] | None
) -> TransferSummary:
    """The same on worker processes."""
    from s3dlio.engine.process_batch import run_processes
    from s3dlio.transfer.process_work import StatsWork, refuse_memory

    args, client = context.args, context.client
    tally = Tally(progress)
    cancel = CancelToken()
    in_flight: dict[int, str] = {}

    def counted() -> Iterator[str | None]:
        for call in calls:
            if call is None:
                yield None
                continue
            refuse_memory(call.store)
            uri = in_flight[tally.start()] = call.uri
            yield uri

    def done(index: int, size: int, error: BaseException | None) -> None:
        uri = in_flight.pop(index)
        if error is None:
            tally.succeed(size)
        elif cancel.cancelled and isinstance(error, TransferCancelledError):
            tally.give_up()
        else:
            tally.fail(index, uri, error)
            if not args.continue_on_error:
                cancel.cancel("another object failed")

    group = client.group
    client.stores.prepare()  # before the clock of the first object starts
    with group.stoppable(cancel.cancel) as stop_others, tally.running(client.stores):
        run_processes(
            client, StatsWork(), counted(), procs=args.procs, width=args.jobs, on_done=done, cancel=cancel, ahead=ahead
        )
        _tell_failure(tally, args, stop_others)
    return merged(group, tally).summary()
