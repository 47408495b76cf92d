"""``cp`` with a ``-``: standard input becomes an object, or an object goes to standard output."""

from __future__ import annotations

from s3dlio.cli.commands.cat import PIECE, print_object
from s3dlio.cli.context import Context
from s3dlio.cli.keywords import given_keywords
from s3dlio.cli.streams import standard_input
from s3dlio.cli.summary import finish
from s3dlio.records import replace
from s3dlio.stores.base import ObjectStore
from s3dlio.transfer.content_types import content_type_of
from s3dlio.transfer.object_options import object_options
from s3dlio.transfer.places import destination_uri, place_uri
from s3dlio.transfer.summary import Tally
from s3dlio.types import Conditions, PutOptions
from s3dlio.uri import LOCAL_SCHEMES, is_directory_like
from s3dlio.verbs.keywords import OBJECT

#: What stands for standard input or output.
PIPE = "-"

#: What only files and objects have, or several of them: refused here, because it would be ignored.
_NOT_OF_PIPES = (
    "recursive", "pattern", "include", "exclude", "include_from", "exclude_from", "min_size", "max_size", "min_age",
    "max_age", "verify", "preserve", "journal", "continue_on_error",
)  # fmt: skip


def run(context: Context) -> None:
    """One object from or to a pipe."""
    args = context.args
    source, *more = args.sources
    if more or source == args.dest:
        context.refuse("'-' is standard input or output: give it once, and one object")
    if unused := [name for name in _NOT_OF_PIPES if getattr(args, name)]:
        context.refuse(f"--{unused[0].replace('_', '-')} means nothing for standard input and output")
    if args.dest == PIPE:
        of_writes = ("part_size", "expected_size", "dry_run", "no_clobber", "guess_content_type", *sorted(OBJECT))
        if unused := [name for name in of_writes if getattr(args, name, None) not in (None, False)]:
            context.refuse(f"--{unused[0].replace('_', '-')} is that of an object that is written")
        print_object(context, place_uri(source))
    else:
        _store(context, destination_uri(args.dest))


def _store(context: Context, uri: str) -> None:
    """Standard input as one object, which appears when the input has ended, and not if anything fails."""
    args = context.args
    store, key = context.client.store_for(uri)
    if is_directory_like(key):
        context.refuse("standard input has no name: write the whole name of the object, without '/' at its end")
    options = _options(context, store, key)
    store.check_options(options)
    tally = Tally()
    if args.no_clobber and context.client.exists(uri):
        tally.skip(uri, "something is there", expected=True)
    elif args.dry_run:
        tally.start()
        context.out.result({"verb": "copy", "source": PIPE, "target": uri, "dry_run": True}, f"copy {PIPE} {uri}")
    else:
        if args.create_bucket and store.scheme not in LOCAL_SCHEMES:
            store.create_container()
        _write(context, store, key, options, tally)
    finish(context.out, "CP", tally.summary(), label=" (upload)", dry_run=args.dry_run)


def _write(context: Context, store: ObjectStore, key: str, options: PutOptions, tally: Tally) -> None:
    args, pipe = context.args, standard_input()
    tally.start()
    size = 0
    with store.writer(key, options=options, part_size=args.part_size, expected_size=args.expected_size) as writer:
        while data := pipe.buffer.read(PIECE):
            size += writer.write_owned(data)
    tally.succeed(size)


def _options(context: Context, store: ObjectStore, key: str) -> PutOptions:
    """What the object carries; its name tells its type."""
    options = object_options(**given_keywords(context.args, OBJECT))
    guess = context.args.guess_content_type
    wanted = context.settings.transfer.guess_content_type if guess is None else guess
    if wanted and options.content_type is None and store.scheme not in LOCAL_SCHEMES:
        options = replace(options, content_type=content_type_of(key))
    return replace(options, conditions=Conditions(if_none_match="*")) if context.args.no_clobber else options
