"""The command line of ``s3-cli checkpoint``."""

from __future__ import annotations

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import CommandParser, Commands
from s3dlio.cli.parser_options import dry_run, human_readable


def checkpoints(commands: Commands) -> None:
    """Add the group ``checkpoint`` and its commands."""
    group = commands.add(
        "checkpoint", "", "Look at the checkpoints of a training run, verify them, and delete old ones",
        details="No framework is needed for it",
    )  # fmt: skip
    inner = Commands(group, "commands of checkpoint")
    ls = inner.add("ls", "checkpoint:ls", "List the checkpoints, the oldest step first",
                   details="A * marks the latest, which a load returns")  # fmt: skip
    _base(ls)
    human_readable(ls)

    show = inner.add("show", "checkpoint:show", "Show what the manifest of a checkpoint tells, and its shards")
    _base(show)
    show.add_argument("--step", type=argument_types.count, metavar="N", help="of this step (default: the latest)")
    human_readable(show)

    verify = inner.add(
        "verify", "checkpoint:verify", "Verify checkpoints: manifests, the sizes of all shards, and their bytes",
        details="Nothing is kept of what is read. The exit code is 1 if any checkpoint is damaged",
    )  # fmt: skip
    _base(verify)
    verify.add_argument("--step", type=argument_types.count, action="append", default=[], metavar="N",
                        help="only this step; may be given several times (default: all)")  # fmt: skip
    verify.add_argument("--read-data-subset", type=argument_types.percentage, default=100.0, metavar="PERCENT",
                        help="read the bytes of shards drawn by chance that make up this share of all bytes, and only "
                        "look at the sizes of the others (default: all bytes)")  # fmt: skip

    prune = inner.add(
        "prune", "checkpoint:prune", "Delete old checkpoints",
        details="What --keep-last or --keep-every keeps stays, and so does the latest",
    )  # fmt: skip
    _base(prune)
    prune.add_argument("--keep-last", type=argument_types.count, metavar="N", help="keep the N highest steps")
    prune.add_argument("--keep-every", type=argument_types.positive_count, metavar="K",
                       help="keep every step that K divides")  # fmt: skip
    dry_run(prune, "print what would be deleted, and delete nothing")


def _base(command: CommandParser) -> None:
    command.add_argument("uri", metavar="URI",
                         help="the base of the checkpoints: scheme://bucket/prefix, or a directory")  # fmt: skip
