"""The command line of ``s3-cli versions`` and ``s3-cli uploads``."""

from __future__ import annotations

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import CommandParser, Commands
from s3dlio.cli.parser_options import PREFIX, URI, dry_run, human_readable, jobs, null, pattern, recursive, version_id


def history(commands: Commands) -> None:
    """The groups ``versions`` and ``uploads``."""
    _versions(commands)
    _uploads(commands)


def _versions(commands: Commands) -> None:
    group = commands.add("versions", "", "List, restore and delete older versions of objects",
                         details="For buckets that keep them: S3, Azure, Google Cloud Storage")  # fmt: skip
    inner = Commands(group, "commands of versions")
    ls = inner.add("ls", "versions:ls", "List the versions of objects",
                   details="A * marks the latest one, which a read finds. 'ls --versions' does the same")  # fmt: skip
    ls.add_argument("uris", nargs="+", metavar="URI", help=f"{URI}, a prefix ending in '/', or a glob")
    recursive(ls, "everything below, instead of one level")
    pattern(ls, "only objects")
    human_readable(ls)
    null(ls)

    restore = inner.add("restore", "versions:restore", "Make an older version the latest one again",
                        details="It is copied inside the service, and nothing is lost")  # fmt: skip
    restore.add_argument("uri", metavar="URI", help=URI)
    version_id(restore, "this version, as 'versions ls' shows it (default: the newest of an object that was deleted)")
    dry_run(restore, "print what would be restored, and restore nothing")

    rm = inner.add("rm", "versions:rm", "Delete versions for good")
    rm.add_argument("uris", nargs="+", metavar="URI", help=f"{URI}; with -r {PREFIX} or a glob")
    version_id(rm, "this version of one object")
    rm.add_argument("--all", action="store_true", help="every version, and the markers of deletions")
    recursive(rm, "of everything below the prefix")
    pattern(rm, "with -r: only objects")
    jobs(rm, 32)
    dry_run(rm, "print what would be deleted, and delete nothing")


def _uploads(commands: Commands) -> None:
    group = commands.add(
        "uploads", "", "List and remove uploads in parts that were never completed",
        details="Their parts are paid for, and no listing of objects shows them. On Google Cloud Storage these are "
        "the parts that composite uploads left",
    )  # fmt: skip
    inner = Commands(group, "commands of uploads")
    ls = inner.add("ls", "uploads:ls", "List uploads that are open: when they were begun, their ids, their objects")
    _where(ls)
    rm = inner.add("rm", "uploads:rm", "Remove uploads that are open, and their parts",
                   details="One that is still being written fails: give an age that no living upload has")  # fmt: skip
    _where(rm)
    jobs(rm, 32)
    dry_run(rm, "print what would be removed, and remove nothing")


def _where(command: CommandParser) -> None:
    command.add_argument("uris", nargs="+", metavar="URI", help="scheme://bucket, a prefix, a glob or an object")
    command.add_argument("--older-than", type=argument_types.age, metavar="AGE",
                         help="only those begun before: 2d, 12h, or a date")  # fmt: skip
