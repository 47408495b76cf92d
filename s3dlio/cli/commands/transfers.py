"""``upload``, ``download``, ``cp``, ``mv``, ``sync``: files and objects from one place to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from s3dlio.cli.commands import pipe
from s3dlio.cli.commands.pipe import PIPE
from s3dlio.cli.context import Context
from s3dlio.cli.summary import finish, finish_failed
from s3dlio.errors import BatchError, IsDirectoryError
from s3dlio.transfer import copy as copying
from s3dlio.transfer.download import download as download_objects
from s3dlio.transfer.local import expand
from s3dlio.transfer.summary import TransferSummary
from s3dlio.transfer.sync import Action
from s3dlio.transfer.sync import sync as sync_directories
from s3dlio.transfer.target import place_uri
from s3dlio.transfer.upload import upload as upload_files
from s3dlio.uri import LOCAL_SCHEMES, SCHEMES, is_directory_like


def upload(context: Context) -> None:
    """Files into a store."""
    args = context.args
    if not args.recursive:
        _refuse_directories(args.sources, regex=args.regex)
    extras = {"recursive": args.recursive, "regex": args.regex, "create_bucket": args.create_bucket}
    _transfer(context, "UPLOAD", upload_files, args.sources, journal=args.journal, **extras)


def download(context: Context) -> None:
    """Objects into a directory."""
    args = context.args
    extras = {"recursive": args.recursive, "journal": args.journal}
    _transfer(context, "DOWNLOAD", download_objects, args.source, **extras)


def cp(context: Context) -> None:
    """From anywhere to anywhere; ``-`` is standard input or output."""
    if PIPE in (*context.args.sources, context.args.dest):
        pipe.run(context)
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
    _run(
        context,
        "GET",
        lambda: copying.copy(
            client,
            args.uri,
            args.output,
            recursive=args.recursive or is_directory_like(key),
            pattern=args.pattern,
            max_in_flight=args.jobs,
            continue_on_error=args.continue_on_error,
            progress=context.bar("GET"),
        ),
    )


def sync(context: Context) -> None:
    """One directory becomes like another; a dry run prints what would be done."""
    args, out = context.args, context.out

    def tell(action: Action) -> None:
        what = {name: value for name, value in action._asdict().items() if value is not None}
        text = " ".join(out.name(place) for place in (action.verb, action.source, action.target) if place)
        out.result({**what, "dry_run": True}, text)

    extras = {"delete": args.delete, "dry_run": args.dry_run, "checksum": args.checksum}
    extras["create_bucket"] = args.create_bucket
    _transfer(context, "SYNC", sync_directories, args.source, on_action=tell if args.dry_run else None, **extras)


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
    extras = {"recursive": args.recursive, "create_bucket": args.create_bucket, "journal": args.journal}
    label = _direction(args.sources[0], args.dest) if operation == "CP" else ""
    _transfer(context, operation, function, sources, label=label, **extras)


def _transfer(
    context: Context,
    operation: str,
    function: Callable[..., TransferSummary],
    source: str | list[str],
    *,
    label: str = "",
    **extras: Any,
) -> None:
    args = context.args
    _run(
        context,
        operation,
        lambda: function(
            context.client,
            source,
            args.dest,
            max_in_flight=args.jobs,
            pattern=args.pattern,
            include=args.include,
            exclude=args.exclude,
            verify=args.verify,
            preserve_mtime=args.preserve,
            continue_on_error=args.continue_on_error,
            progress=context.bar(operation),
            **extras,
        ),
        label=label,
        dry_run=bool(extras.get("dry_run")),
    )


def _run(
    context: Context,
    operation: str,
    transfer: Callable[[], TransferSummary],
    *,
    label: str = "",
    dry_run: bool = False,
) -> None:
    """Do it, and print what was done; of a dry run that failed there is nothing to print but the failures."""
    try:
        summary = transfer()
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
