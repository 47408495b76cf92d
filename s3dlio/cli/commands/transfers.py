"""``upload``, ``download``, ``cp``, ``mv``, ``sync``: files and objects from one place to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from s3dlio.cli.context import Context
from s3dlio.cli.keywords import given_keywords
from s3dlio.cli.output import Output
from s3dlio.cli.summary import finish, finish_failed
from s3dlio.errors import BatchError, IsDirectoryError
from s3dlio.records import replace
from s3dlio.transfer.options import TransferOptions
from s3dlio.types import NO_OPTIONS
from s3dlio.uri import LOCAL_SCHEMES, SCHEMES, is_directory_like
from s3dlio.verbs.keywords import UPLOAD, transfer_options

if TYPE_CHECKING:
    from s3dlio.transfer.actions import Action
    from s3dlio.transfer.summary import TransferSummary

# Each command imports what it does: all of it together takes 5 ms more.

#: What stands for standard input or output.
PIPE = "-"
#: Option of the command line -> option of a transfer.
_WORDS = {
    "jobs": "max_in_flight", "recursive": "recursive", "create_bucket": "create_bucket", "pattern": "pattern",
    "include": "include", "exclude": "exclude", "verify": "verify", "preserve": "preserve_mtime",
    "continue_on_error": "continue_on_error", "journal": "journal", "procs": "procs",
}  # fmt: skip


def upload(context: Context) -> None:
    """Files into a store."""
    from s3dlio.transfer.upload import upload as upload_files

    args = context.args
    if not args.recursive:
        _refuse_directories(args.sources, regex=args.regex)
    _run(
        context, "UPLOAD",
        lambda how: upload_files(context.client, args.sources, args.dest, how, regex=args.regex),
    )  # fmt: skip


def download(context: Context) -> None:
    """Objects into a directory."""
    from s3dlio.transfer.download import download as download_objects

    args = context.args
    if not args.recursive:
        from s3dlio.transfer.origin import Origin

        origin = Origin.at(context.client, args.source, recursive=False, pattern=args.pattern)
        args.recursive = is_directory_like(origin.key)  # as of get
        if not args.recursive:
            origin.check_recursive("DOWNLOAD")
    _run(context, "DOWNLOAD", lambda how: download_objects(context.client, args.source, args.dest, how))


def cp(context: Context) -> None:
    """From anywhere to anywhere; ``-`` is standard input or output."""
    from s3dlio.transfer.copy import copy

    if PIPE in (*context.args.sources, context.args.dest):
        if context.group.size > 1:
            context.refuse("'-' is standard input or output, which several processes do not share")
        from s3dlio.cli.commands import pipe

        pipe.run(context)
    elif context.args.expected_size is not None:
        context.refuse("--expected-size is that of standard input; the sizes of files and objects are known")
    else:
        _copy(context, "CP", copy)


def mv(context: Context) -> None:
    """The same, and the source is gone afterwards."""
    from s3dlio.transfer.copy import move

    if PIPE in (*context.args.sources, context.args.dest):
        context.refuse("'-' is standard input or output, which cp knows; a file of this name is ./-")
    _copy(context, "MV", move)


def keep(context: Context) -> None:
    """What ``get -o`` does: a copy, recursive where ``get`` is."""
    from s3dlio.transfer.copy import copy

    args, client = context.args, context.client
    _, key = client.store_for(args.uri)
    recursive = args.recursive or is_directory_like(key)
    _run(
        context, "GET",
        lambda how: copy(client, args.uri, args.output, replace(how, recursive=recursive)),
    )  # fmt: skip


def sync(context: Context) -> None:
    """One directory becomes like another; a dry run prints what would be done."""
    from s3dlio.transfer.compare import By
    from s3dlio.transfer.sync import sync as sync_directories

    args = context.args
    by = By.of(checksum=args.checksum, size_only=args.size_only, exact_timestamps=args.exact_timestamps)
    if args.watch:
        if context.group.size > 1:
            context.refuse("--watch is for one process")
        if args.dry_run:
            context.refuse("--watch goes on until it is interrupted: leave out -n")
        from s3dlio.cli.commands.watch import watch_source

        watch_source(
            context,
            lambda: sync_directories(
                context.client, args.source, args.dest, _options(context, "SYNC"), delete=args.delete, by=by
            ),
        )
    _run(
        context, "SYNC",
        lambda how: sync_directories(context.client, args.source, args.dest, how, delete=args.delete, by=by),
    )  # fmt: skip


def _refuse_directories(sources: list[str], *, regex: bool) -> None:
    """As ``cp`` does: to store only what is directly in a directory is seldom meant.

    Raises:
        IsDirectoryError: a source is one.
    """
    from s3dlio.transfer.places import place_uri
    from s3dlio.transfer.select_local import expand

    for root in () if regex else expand(sources):
        if root.is_directory:
            raise IsDirectoryError(
                "it is a directory", uri=place_uri(root.path), operation="UPLOAD", hint="use -r; nothing was uploaded"
            )


def _copy(context: Context, operation: str, function: Callable[..., TransferSummary]) -> None:
    args = context.args
    sources = args.sources if len(args.sources) > 1 else args.sources[0]
    label = _direction(args.sources[0], args.dest) if operation == "CP" else ""
    _run(context, operation, lambda how: function(context.client, sources, args.dest, how), label=label)


def _options(context: Context, operation: str) -> TransferOptions:
    """What the command line says of the transfer; a command that has no such option leaves it as it is."""
    args = vars(context.args)
    known = {name: args[word] for word, name in _WORDS.items() if word in args}
    more = given_keywords(context.args, UPLOAD - {"bwlimit"})  # a setting of the client, as of every command
    dry_run, verbose = bool(more.get("dry_run")), bool(context.out.verbosity)
    if dry_run or verbose:
        more["on_action"] = lambda action: _tell_planned(context.out, action, dry_run)
    if verbose:
        more["on_done"] = lambda action: _tell(context.out, action)
    looked = "compared" if operation == "SYNC" else "listed"
    return transfer_options(more, **known, options=NO_OPTIONS, progress=context.bar(operation, looked=looked))


def _tell_planned(out: Output, action: Action, dry_run: bool) -> None:
    """What would be done is data; of what will be, only deletions are told, since all else is when it is done."""
    if dry_run:
        out.result({**_record(action), "dry_run": True}, _line(out, action))
    elif action.verb == "delete":
        _tell(out, action)


def _tell(out: Output, action: Action) -> None:
    """With ``-v``: a line for each object."""
    out.done(_record(action), _line(out, action))


def _record(action: Action) -> dict[str, object]:
    return {name: value for name, value in action._asdict().items() if value is not None}


def _line(out: Output, action: Action) -> str:
    return " ".join(out.name(place) for place in (action.verb, action.source, action.target) if place)


def _run(
    context: Context,
    operation: str,
    transfer: Callable[[TransferOptions], TransferSummary],
    *,
    label: str = "",
) -> None:
    """Do it, and print what was done; of a dry run that failed there is nothing to print but the failures."""
    dry_run = getattr(context.args, "dry_run", False)
    try:
        summary = transfer(_options(context, operation))
    except BatchError as error:
        if dry_run:
            raise
        finish_failed(context.out, operation, error, label=label)
    else:
        done = {"MV": "moved", "UPLOAD": "uploaded", "DOWNLOAD": "downloaded"}.get(operation, "copied")
        finish(context.out, operation, summary, label=label, dry_run=dry_run, done=done)


def _direction(source: str, dest: str) -> str:
    """What a copy is, for its summary."""
    names = {(True, False): " (upload)", (False, True): " (download)"}
    return names.get((_is_local(source), _is_local(dest)), " (copy)")


def _is_local(place: str) -> bool:
    scheme, separator, _ = place.partition("://")
    return not separator or SCHEMES.get(scheme.lower()) in LOCAL_SCHEMES
