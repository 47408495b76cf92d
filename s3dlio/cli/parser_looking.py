"""The command line of the commands that look at what is there: buckets, listings, sizes."""

from __future__ import annotations

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import Commands, Words
from s3dlio.cli.parser_options import (
    PREFIX,
    URI,
    dry_run,
    human_readable,
    jobs,
    names,
    null,
    pattern,
    recursive,
    version_id,
)


def buckets(commands: Commands) -> None:
    """The commands for buckets."""
    listing = commands.add("list-buckets", "buckets:list_buckets", "List buckets, containers or directories")
    listing.add_argument("uri", nargs="?", default="s3://", metavar="URI",
                         help="scheme:// of the service, or a directory (default: s3://)")  # fmt: skip
    create = commands.add("create-bucket", "buckets:create_bucket", "Create buckets, containers or directories",
                          aliases=["mb"])  # fmt: skip
    create.add_argument("uris", nargs="+", metavar="URI", help="scheme://bucket; one that exists already is no error")
    delete = commands.add("delete-bucket", "buckets:delete_bucket", "Delete empty buckets, containers or directories",
                          aliases=["rb"])  # fmt: skip
    delete.add_argument("uris", nargs="+", metavar="URI", help="scheme://bucket")
    delete.add_argument("--force", action="store_true", help="delete everything in it first")
    for command in (create, delete):
        dry_run(command)


def looking(commands: Commands) -> None:
    """The commands that look at what is there."""
    ls = commands.add("ls", "ls:run", "List objects, or buckets", aliases=["list"],
                      details="One URI a line as they arrive; the count and the rate go to stderr")  # fmt: skip
    ls.add_argument("uris", nargs="*", metavar="URI",
                    help=f"{PREFIX}, or a glob; a service (s3://, gs://, az://account) lists its buckets "
                    "(default: s3://)")  # fmt: skip
    recursive(ls, "everything below, instead of one level")
    pattern(ls, "only objects")
    ls.add_argument("--fan-out", type=argument_types.jobs, default=1, metavar="N",
                    help="with -r on clouds: list N sub-directories at a time (default: 1)")  # fmt: skip
    ls.add_argument("-c", "--count-only", action="store_true", help="print only the count")
    ls.add_argument("-l", "--long", action="store_true", help="with size in bytes and time of last change")
    human_readable(ls, "like -l, with sizes as 1.5 MiB")
    ls.add_argument("--versions", action="store_true",
                    help="every version of objects, with size, time and id; * marks the latest")  # fmt: skip
    null(ls)

    stat = commands.add("stat", "stat:run", "Show what the store tells about objects")
    stat.add_argument("uris", nargs="+", metavar="URI", help=URI)
    version_id(stat)

    du = commands.add("du", "du:run", "Add up the sizes of the objects under prefixes")
    du.add_argument("uris", nargs="+", metavar="URI", help=PREFIX)
    pattern(du, "only objects")
    human_readable(du)
    du.add_argument("-d", "--depth", type=argument_types.count, default=0, metavar="N",
                    help="also a line for each directory, N levels deep (default: 0)")  # fmt: skip
    null(du)

    _finding(commands)
    _comparing(commands)


def _finding(commands: Commands) -> None:
    find = commands.add(
        "find", "find:run", "Find objects by name, size and age, and run a command for each",
        details="All that is given must hold; of an option that is given several times, one",
    )  # fmt: skip
    find.add_argument("uris", nargs="+", metavar="URI", help=f"{PREFIX}, with everything beneath it")
    for name, what in (
        ("name", "a glob for the last segment of names"), ("iname", "the same with letters of any case"),
        ("path", "a glob for the name below the prefix, whose * also crosses '/'"),
    ):  # fmt: skip
        find.add_argument(f"--{name}", action="append", default=[], metavar="GLOB", help=what)
    find.add_argument("--regex", type=argument_types.pattern, metavar="REGEX",
                      help="a regular expression that is found in the name below the prefix")  # fmt: skip
    find.add_argument("--size", type=argument_types.size_bound, action="append", default=[], metavar="[+-]BYTES",
                      help="+10M: more than, -10M: less than, 10M: exactly so many bytes")  # fmt: skip
    find.add_argument("--min-size", type=argument_types.size, metavar="BYTES", help="so many bytes, or more")
    find.add_argument("--max-size", type=argument_types.size, metavar="BYTES", help="so many bytes, or fewer")
    find.add_argument("--min-age", "--older-than", type=argument_types.age, metavar="AGE",
                      help="last changed before: 7d, 12h, or a date")  # fmt: skip
    find.add_argument("--max-age", "--newer-than", type=argument_types.age, metavar="AGE",
                      help="last changed since then")  # fmt: skip
    find.add_argument("--maxdepth", type=argument_types.positive_count, metavar="N",
                      help="1: only what is directly below the prefix, and so on")  # fmt: skip
    find.add_argument("--exec", action=Words, dest="command_line", metavar="CMD",
                      help="run this command for each, up to a ';' or the end of the line: {} in it is the URI, {key} "
                      "the key (the path of a local file); with '+' instead of ';' for many at once")  # fmt: skip
    find.add_argument("-j", "--jobs", type=argument_types.jobs, default=1, metavar="N",
                      help="commands of --exec at a time (default: 1)")  # fmt: skip
    find.add_argument("-l", "--long", action="store_true", help="with size in bytes and time of last change")
    human_readable(find, "like -l, with sizes as 1.5 MiB")
    null(find)


def _comparing(commands: Commands) -> None:
    for name, summary, details in (
        ("check", "Compare two directories by size and checksum, on any two storages",
         "'* NAME' differs, '+ NAME' is missing in DEST, '- NAME' is missing in SRC, '? NAME' has no checksum that "
         "both sides know, '! NAME' cannot be read. If anything is not the same, the exit code is 1"),
        ("diff", "Compare the listings of two directories: names and sizes",
         "As 'check --size-only': no object is looked at"),
    ):  # fmt: skip
        command = commands.add(name, f"check:{name}", summary, details=details)
        command.add_argument("source", metavar="SRC", help="a directory: a URI or local path")
        command.add_argument("dest", metavar="DEST", help="likewise")
        if name == "check":
            command.add_argument("--download", action="store_true",
                                 help="read all bytes of both sides, and compare their CRC32C")  # fmt: skip
            command.add_argument("--size-only", action="store_true", help="compare names and sizes only")
        command.add_argument("--one-way", action="store_true", help="what only DEST has is no difference")
        command.add_argument("--combined", action="store_true", help="print what is the same, too, as '= NAME'")
        jobs(command, 32)
        names(command)
        null(command)
