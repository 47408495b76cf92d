"""The command line of the commands that carry files and objects from place to place."""

from __future__ import annotations

import argparse

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import CommandParser, Commands
from s3dlio.cli.parser_options import (
    PREFIX,
    URI,
    continue_on_error,
    create_bucket,
    dry_run,
    jobs,
    object_options,
    part_size,
    pattern,
    procs,
    recursive,
    selection,
)


def transfers(commands: Commands) -> None:
    """The commands that carry files and objects from place to place."""
    upload = commands.add("upload", "transfers:upload", "Copy local files and directories to a storage")
    upload.add_argument("sources", nargs="+", metavar="FILES", help="files, directories (with -r), or quoted globs")
    upload.add_argument("dest", metavar="DEST", help=PREFIX)
    recursive(upload, "directories with everything in them")
    upload.add_argument("--regex", action="store_true",
                        help="the last segment of each source is a regular expression")  # fmt: skip
    create_bucket(upload)
    part_size(upload)
    _transfer_options(upload, 32)
    procs(upload, "transfer")

    download = commands.add("download", "transfers:download", "Copy objects to a local directory")
    download.add_argument("source", metavar="SRC", help=f"{URI}, a prefix ending in '/', or a glob")
    download.add_argument("dest", metavar="DEST_DIR", help="the directory; it is made if it is missing")
    recursive(download, "everything below the prefix; so it is without, where SRC ends in '/'")
    _transfer_options(download, 64, objects=False)
    procs(download, "transfer")

    for name, summary in (
        ("cp", "Copy files or objects from anywhere to anywhere; '-' is standard input or output"),
        ("mv", "Move files or objects from anywhere to anywhere"),
    ):
        command = commands.add(name, f"transfers:{name}", summary,
                               details="Within one service no byte passes through this machine")  # fmt: skip
        command.add_argument("sources", nargs="+", metavar="SRC", help="URIs, local paths, or quoted globs")
        command.add_argument("dest", metavar="DEST", help="a URI or local path; it names a directory if it ends in '/'")
        recursive(command, "a directory with everything beneath it")
        create_bucket(command)
        part_size(command)
        if name == "cp":
            command.add_argument("--expected-size", type=argument_types.size, metavar="BYTES",
                                 help="how long standard input will be: all parts are then equal, as some services "
                                 "want it")  # fmt: skip
        _transfer_options(command, 32, preserve=name == "mv")

    sync = commands.add("sync", "transfers:sync", "Make one directory like another, on any two storages",
                        details="What is missing, has another size or is older than its source is copied")  # fmt: skip
    sync.add_argument("source", metavar="SRC", help="a directory: a URI or local path")
    sync.add_argument("dest", metavar="DEST", help="likewise")
    sync.add_argument("--delete", action="store_true", help="delete what DEST has and SRC has not")
    compared = sync.add_mutually_exclusive_group()
    compared.add_argument("--checksum", action="store_true", help="compare the CRC32C instead of the time")
    compared.add_argument("--size-only", action="store_true", help="what has the same size is the same")
    compared.add_argument("--exact-timestamps", action="store_true",
                          help="a file with another time than its object differs, also if it is newer; without, if "
                          "it is older")  # fmt: skip
    sync.add_argument("--watch", action="store_true",
                      help="go on until it is interrupted: sync again whenever SRC changes (a local directory tells; "
                      "another is looked at every --interval seconds)")  # fmt: skip
    sync.add_argument("--interval", type=argument_types.seconds, default=30.0, metavar="SECONDS",
                      help="of --watch: how often a remote SRC is looked at, and what failed is tried again "
                      "(default: 30)")  # fmt: skip
    create_bucket(sync)
    _transfer_options(sync, 32, journal=False)


def _transfer_options(
    command: CommandParser, in_flight: int, *, preserve: bool = False, journal: bool = True, objects: bool = True
) -> None:
    jobs(command, in_flight)
    pattern(command, "only objects")
    selection(command)
    dry_run(command)
    command.add_argument("--no-clobber", action="store_true",
                         help="leave alone what is at its destination already, also if it comes meanwhile")  # fmt: skip
    command.add_argument("--verify", action="store_true", help="compare the CRC32C of what is read and what is stored")
    command.add_argument("--preserve", action=argparse.BooleanOptionalAction, default=preserve,
                         help=f"keep the time of the last change (default: {'yes' if preserve else 'no'})")  # fmt: skip
    if journal:
        command.add_argument("--journal", metavar="FILE",
                             help="record what is done; after an interruption the same command resumes")  # fmt: skip
    continue_on_error(command)
    if objects:
        object_options(command)
