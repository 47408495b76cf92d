"""``upload``, ``download``, ``cp``, ``mv``, ``sync``: files and objects from one place to another."""

from __future__ import annotations

from collections.abc import Callable

from s3dlio.cli.commands import pipe
from s3dlio.cli.commands.pipe import PIPE
from s3dlio.cli.context import Context
from s3dlio.cli.summary import finish, finish_failed
from s3dlio.errors import BatchError, IsDirectoryError
from s3dlio.records import replace
from s3dlio.transfer import copy as copying
from s3dlio.transfer.download import download as download_objects
from s3dlio.transfer.options import TransferOptions
from s3dlio.transfer.origin import Origin
from s3dlio.transfer.places import place_uri
from s3dlio.transfer.select_local import expand
from s3dlio.transfer.summary import TransferSummary
from s3dlio.transfer.sync import Action
from s3dlio.transfer.sync import sync as sync_directories
from s3dlio.transfer.upload import upload as upload_files
from s3dlio.uri import LOCAL_SCHEMES, SCHEMES, is_directory_like

#: Option of the command line -> option of a transfer.
_WORDS = {
    "jobs": "max_in_flight", "recursive": "recursive", "create_bucket": "create_bucket", "pattern": "pattern",
    "include": "include", "exclude": "exclude", "verify": "verify", "preserve": "preserve_mtime",
    "continue_on_error": "continue_on_error", "journal": "journal", "procs": "procs",
}  # fmt: skip


def upload(context: Context) -> None:
    """Files into a store."""
    args = context.args
    if not args.recursive:
        _refuse_directories(args.sources, regex=args.regex)
    _run(
        context, "UPLOAD",
        lambda how: upload_files(context.client, args.sources, args.dest, how, regex=args.regex),
    )  # fmt: skip


def download(context: Context) -> None:
    """Objects into a directory."""
    args = context.args
    if not args.recursive:
        Origin.at(context.client, args.source, recursive=False, pattern=args.pattern).check_recursive("DOWNLOAD")
    _run(context, "DOWNLOAD", lambda how: download_objects(context.client, args.source, args.dest, how))


def cp(context: Context) -> None:
    """From anywhere to anywhere; ``-`` is standard input or output."""
    if PIPE in (*context.args.sources, context.args.dest):
        pipe.run(context)
    elif context.args.expected_size is not None:
        context.refuse("--expected-size is that of standard input; the sizes of files and objects are known")
    else:
        _copy(context, "CP", copying.copy)


def mv(context: Context) -> None:
    """The same, and the source is gone afterwards."""
    if PIPE in (*context.args.sources, context.args.dest):
        context.refuse("'-' is standard input or output, which cp knows; a file of this name is ./-")
    _copy(context, "MV", copying.move)


def keep(context: Context) -> None:
    """What ``get -o`` does: a copy, recursive where ``get`` is."""
    args, client = context.args, context.client
    _, key = client.store_for(args.uri)
    recursive = args.recursive or is_directory_like(key)
    _run(
        context, "GET",
        lambda how: copying.copy(client, args.uri, args.output, replace(how, recursive=recursive)),
    )  # fmt: skip


def sync(context: Context) -> None:
    """One directory becomes like another; a dry run prints what would be done."""
    args, out = context.args, context.out

    def tell(action: Action) -> None:
        what = {name: value for name, value in action._asdict().items() if value is not None}
        text = " ".join(out.name(place) for place in (action.verb, action.source, action.target) if place)
        out.result({**what, "dry_run": True}, text)

    _run(
        context, "SYNC",
        lambda how: sync_directories(
            context.client, args.source, args.dest, how, delete=args.delete, dry_run=args.dry_run,
            checksum=args.checksum, on_action=tell if args.dry_run else None,
        ),
        dry_run=args.dry_run,
    )  # fmt: skip


def _refuse_directories(sources: list[str], *, regex: bool) -> None:
    """As ``cp`` does: to store only what is directly in a directory is seldom meant.

    Raises:
        IsDirectoryError: a source is one.
    """
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
    given = {name: args[word] for word, name in _WORDS.items() if word in args}
    return TransferOptions(**given, progress=context.bar(operation))


def _run(
    context: Context,
    operation: str,
    transfer: Callable[[TransferOptions], TransferSummary],
    *,
    label: str = "",
    dry_run: bool = False,
) -> None:
    """Do it, and print what was done; of a dry run that failed there is nothing to print but the failures."""
    try:
        summary = transfer(_options(context, operation))
    except BatchError as error:
        if dry_run:
            raise
        finish_failed(context.out, operation, error, label=label)
    else:
        finish(context.out, operation, summary, label=label, dry_run=dry_run)


def _direction(source: str, dest: str) -> str:
    """What a copy is, for its summary."""
    names = {(True, False): " (upload)", (False, True): " (download)"}
    return names.get((_is_local(source), _is_local(dest)), " (copy)")


def _is_local(place: str) -> bool:
    scheme, separator, _ = place.partition("://")
    return not separator or SCHEMES.get(scheme.lower()) in LOCAL_SCHEMES
