"""The command line of what works on op-logs."""

from __future__ import annotations

from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import Commands


def analysis(commands: Commands) -> None:
    """``analyze``."""
    command = commands.add(
        "analyze", "analyze:run", "Tell what op-logs show: rates, latencies, and what holds a run back",
        details="Logs of this command, of the Rust package, of warp and of warp-replay, plain or compressed; several "
        "are one run. A row that cannot be read is noted and left out",
    )  # fmt: skip
    command.add_argument("logs", nargs="*", metavar="LOG", help="a file")
    command.add_argument("--compare", nargs=2, metavar=("A", "B"),
                         help="compare run B with run A, each a log or a quoted glob: what is slower or faster by more "
                         "than chance")  # fmt: skip
    command.add_argument("--skip-warmup", type=argument_types.duration, default=0.0, metavar="DURATION",
                         help="leave out operations that begin in the first 90s, 5m, ...")  # fmt: skip
    command.add_argument("--clock-offset", type=argument_types.clock_offset, action="append", default=[],
                         metavar="LOG=SECONDS",
                         help="how far the clock of this log is ahead, which is taken off its times; may be given "
                         "several times")  # fmt: skip
    command.add_argument("--confidence", type=argument_types.confidence, default=0.99, metavar="P",
                         help="of the intervals of --compare (default: 0.99)")  # fmt: skip
    command.add_argument("--procs", type=argument_types.procs, metavar="N",
                         help="share the work among so many processes (default: 2 where logs are large)")  # fmt: skip
    command.add_argument("--html", metavar="FILE", help="write a report with plots, one file that needs no other")
    command.add_argument("--perfetto", metavar="FILE",
                         help="write the operations as trace events, for ui.perfetto.dev; .gz compresses")  # fmt: skip
