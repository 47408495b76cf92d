"""Options that several commands share, and what their operands are called in help texts."""

from __future__ import annotations

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import CommandParser

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


def dry_run(command: CommandParser, help: str) -> None:
    """Nothing is changed."""
    command.add_argument("-n", "--dry-run", action="store_true", help=help)


def version_id(command: CommandParser, help: str = "this version of the object, as 'ls --versions' shows it") -> None:
    """One version of an object."""
    command.add_argument("--version-id", type=argument_types.version, metavar="ID", help=help)
