"""Options that several commands share, and what their operands are called in help texts."""

from __future__ import annotations

import argparse

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import CommandParser

ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")
URI = "scheme://bucket/key"
PREFIX = "scheme://bucket/prefix/"


def jobs(command: CommandParser, default: int, *names: str) -> None:
    """How many requests are in flight."""
    command.add_argument("-j", "--jobs", *names, dest="jobs", type=argument_types.jobs, default=default, metavar="N",
                         help=f"requests in flight, 1 to 4096 (default: {default})")  # fmt: skip


def procs(command: CommandParser, what: str) -> None:
    """With how many processes."""
    command.add_argument("--procs", type=argument_types.procs, default=1, metavar="N",
                         help=f"{what} with so many processes, among which -j is divided (default: 1)")  # fmt: skip


def pattern(command: CommandParser, what: str) -> None:
    """Only names that a regular expression finds."""
    command.add_argument("-p", "--pattern", type=argument_types.pattern, metavar="REGEX",
                         help=f"{what} whose name below the prefix this regular expression finds")  # fmt: skip


def null(command: CommandParser) -> None:
    """Lines that end in a NUL, which no name holds."""
    command.add_argument("-0", "--null", "--print0", dest="end", action="store_const", const="\0", default="\n",
                         help="end each line with a NUL, for names with line breaks (xargs -0)")  # fmt: skip


def human_readable(command: CommandParser, help: str = "sizes as 1.5 MiB") -> None:
    """Sizes as people read them."""
    command.add_argument("-H", "--human-readable", action="store_true", help=help)


def names(command: CommandParser) -> None:
    """Which names of a directory are meant."""
    pattern(command, "only objects")
    _globs(command)


def _globs(command: CommandParser, only: str = "") -> None:
    for name, which in (("--include", "only names that match"), ("--exclude", "no names that match")):
        command.add_argument(name, action="append", default=[], metavar="GLOB",
                             help=f"{only}{which} this glob: without '/' the last segment, with '/' all of it, with "
                             "'/' at the end a directory; may be given several times")  # fmt: skip


def recursive(command: CommandParser, help: str) -> None:
    """What is deeper, too."""
    command.add_argument("-r", "--recursive", action="store_true", help=help)


def create_bucket(command: CommandParser) -> None:
    """The bucket is made first."""
    command.add_argument("-c", "--create-bucket", action="store_true", help="create the bucket first if it is missing")


def part_size(command: CommandParser) -> None:
    """The size of parts."""
    command.add_argument("--part-size", type=argument_types.positive_size, metavar="BYTES",
                         help="write large objects in parts of this size (default: multipart.part_size)")  # fmt: skip


def continue_on_error(command: CommandParser) -> None:
    """A failure does not stop the others."""
    command.add_argument("--continue-on-error", action="store_true",
                         help="go on after a failure; otherwise nothing more is started")  # fmt: skip


def dry_run(
    command: CommandParser, help: str = "print what would be done, and do nothing", *, short: bool = True
) -> None:
    """Nothing is changed."""
    command.add_argument(*(["-n"] if short else []), "--dry-run", "--dryrun", action="store_true", help=help)


def version_id(command: CommandParser, help: str = "this version of the object, as 'ls --versions' shows it") -> None:
    """One version of an object."""
    command.add_argument("--version-id", type=argument_types.version, metavar="ID", help=help)


def selection(command: CommandParser, *, only: str = "") -> None:
    """Which objects of those that are named; ``only`` says when that makes sense."""
    _globs(command, only)
    for name in ("include", "exclude"):
        command.add_argument(f"--{name}-from", action="append", default=[], metavar="FILE",
                             help=f"the globs of --{name}, one a line in FILE; # and ; begin comments")  # fmt: skip
    for name, which in (("min", "at least"), ("max", "at most")):
        command.add_argument(f"--{name}-size", type=argument_types.size, metavar="BYTES",
                             help=f"{only}only objects of {which} so many bytes")  # fmt: skip
    for name, also, which in (("min", "older-than", "at least"), ("max", "newer-than", "at most")):
        command.add_argument(f"--{name}-age", f"--{also}", type=argument_types.age, metavar="AGE",
                             help=f"{only}only what was changed {which} so long ago: 30m, 12h, 7d, 1d12h, 2w, 3M, 1y, "
                             "or at a date: 2026-11-28")  # fmt: skip


def object_options(command: CommandParser, *, guess: bool = True) -> None:
    """What new objects carry besides their bytes."""
    group = command.add_argument_group(
        "options of new objects",
        "What is not given, a copy within a service keeps. Local files keep none of it: to ask for it is an error",
    )
    group.add_argument("--content-type", metavar="TYPE", help="such as image/png")
    if guess:
        group.add_argument("--guess-content-type", action=argparse.BooleanOptionalAction, default=None,
                           help="take the content type of a file from the end of its name "
                           "(default: transfer.guess_content_type, which is yes)")  # fmt: skip
    group.add_argument("--metadata", type=argument_types.metadata, action="append", metavar="NAME=VALUE",
                       help="metadata of one's own; a comma belongs to the value; may be given several times, and "
                       "replaces what a copied object has")  # fmt: skip
    group.add_argument("--cache-control", metavar="TEXT", help="such as max-age=3600")
    group.add_argument("--content-disposition", metavar="TEXT", help="such as attachment")
    group.add_argument("--content-encoding", metavar="TEXT", help="such as gzip")
    group.add_argument("--content-language", metavar="TEXT", help="such as en")
    group.add_argument("--expires", type=argument_types.http_date, metavar="DATE",
                       help="the header field Expires, of s3://: 2026-11-28, or a whole HTTP date")  # fmt: skip
    group.add_argument("--storage-class", metavar="CLASS",
                       help="such as STANDARD_IA or GLACIER; az:// takes access tiers (Hot, Cool, Cold, Archive), "
                       "gs:// NEARLINE and the like")  # fmt: skip
    group.add_argument("--sse", choices=ENCRYPTIONS, metavar="KIND",
                       help=f"encryption on the server of s3://: {', '.join(ENCRYPTIONS)}")  # fmt: skip
    group.add_argument("--sse-kms-key-id", metavar="ID", help="the key of KMS, for s3:// and gs://")
    group.add_argument("--tags", type=argument_types.tag, action="append", metavar="NAME=VALUE",
                       help="a tag of s3:// or az://; may be given several times, ten at most")  # fmt: skip
