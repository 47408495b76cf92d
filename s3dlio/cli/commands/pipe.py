"""``cp`` with a ``-``: standard input becomes an object, or an object goes to standard output."""

from __future__ import annotations

from s3dlio.cli.commands.cat import PIECE, print_object
from s3dlio.cli.context import Context
from s3dlio.cli.streams import standard_input
from s3dlio.cli.summary import finish
from s3dlio.transfer.places import destination_uri, place_uri
from s3dlio.transfer.summary import Tally
from s3dlio.uri import LOCAL_SCHEMES, is_directory_like

#: What stands for standard input or output.
PIPE = "-"

#: What only files and objects have, or several of them: refused here, because it would be ignored.
_NOT_OF_PIPES = ("recursive", "pattern", "include", "exclude", "verify", "preserve", "journal", "continue_on_error")


def run(context: Context) -> None:
    """One object from or to a pipe."""
    args = context.args
    source, *more = args.sources
    if more or source == args.dest:
        context.refuse("'-' is standard input or output: give it once, and one object")
    if unused := [name for name in _NOT_OF_PIPES if getattr(args, name)]:
        context.refuse(f"--{unused[0].replace('_', '-')} means nothing for standard input and output")
    if args.dest == PIPE:
        if args.part_size or args.expected_size:
            context.refuse("--part-size and --expected-size are those of an object that is written")
        print_object(context, place_uri(source))
    else:
        _store(context, destination_uri(args.dest))


def _store(context: Context, uri: str) -> None:
    """Standard input as one object, which appears when the input has ended, and not if anything fails."""
    pipe = standard_input()
    store, key = context.client.store_for(uri)
    if is_directory_like(key):
        context.refuse("standard input has no name: write the whole name of the object, without '/' at its end")
    if context.args.create_bucket and store.scheme not in LOCAL_SCHEMES:
        store.create_container()
    tally = Tally()
    tally.start()
    size = 0
    part_size, expected_size = context.args.part_size, context.args.expected_size
    with store.writer(key, part_size=part_size, expected_size=expected_size) as writer:
        while data := pipe.buffer.read(PIECE):
            size += writer.write_owned(data)
    tally.succeed(size)
    finish(context.out, "CP", tally.summary(), label=" (upload)")
