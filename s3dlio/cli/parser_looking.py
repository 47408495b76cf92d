"""The command line of the commands that look at what is there: buckets, listings, sizes."""

from __future__ import annotations

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import Commands
from s3dlio.cli.parser_options import PREFIX, URI, dry_run, null, pattern, recursive, version_id


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
    ls.add_argument("-H", "--human-readable", action="store_true", help="like -l, with sizes as 1.5 MiB")
    ls.add_argument("--versions", action="store_true",
                    help="every version of objects, with size, time and id; * marks the latest")  # fmt: skip
    null(ls)

    stat = commands.add("stat", "stat:run", "Show what the store tells about objects")
    stat.add_argument("uris", nargs="+", metavar="URI", help=URI)
    version_id(stat)

    du = commands.add("du", "du:run", "Add up the sizes of the objects under prefixes")
    du.add_argument("uris", nargs="+", metavar="URI", help=PREFIX)
    pattern(du, "only objects")
    du.add_argument("-H", "--human-readable", action="store_true", help="sizes as 1.5 MiB")
    du.add_argument("-d", "--depth", type=argument_types.count, default=0, metavar="N",
                    help="also a line for each directory, N levels deep (default: 0)")  # fmt: skip
    null(du)
