"""The one parser of ``s3-cli``: arguments, man pages and shell completion all come from :func:`build_parser`.

It imports nothing beyond the standard library's argparse and the package's version, so that ``--help`` is quick.
What a command does is named as ``module:function`` and imported when it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from s3dlio._version import __version__
from s3dlio.cli import argument_types
from s3dlio.cli.argument_parser import CommandParser, Commands
from s3dlio.cli.parser_analysis import analysis
from s3dlio.cli.parser_bench import benchmarks
from s3dlio.cli.parser_checkpoint import checkpoints
from s3dlio.cli.parser_history import history
from s3dlio.cli.parser_looking import buckets, looking
from s3dlio.cli.parser_objects import reading, removing, sharing, writing
from s3dlio.cli.parser_options import dry_run, jobs
from s3dlio.cli.parser_replay import replaying
from s3dlio.cli.parser_transfers import transfers

PROG = "s3-cli"
#: As in ``config.endpoint_list``, which is not imported here.
STRATEGIES = ("round_robin", "least_connections", "shortest_expected_wait", "rank")
SHELLS = ("bash", "zsh", "fish")
DESCRIPTION = (
    "Work with objects and files on any storage: s3://, az://, gs://, file:// and direct:// behind one command. "
    "A plain path means a local file wherever a command copies; elsewhere everything is a URI."
)
EPILOG = (
    "Exit codes: 0 done, 1 something failed, 2 the command line is wrong, 130 interrupted. "
    "Numbers take the suffixes k, m, g, t (powers of 1000) and Ki, Mi, Gi, Ti (powers of 1024). "
    "Globs are the same for keys and local paths: * and ? stay within a segment, ** crosses '/', [abc] is one "
    "of these, [!abc] none of these, {one,two} either; [*] is the character itself. "
    "'s3-cli config' shows every setting, its value and where it comes from."
)


def build_parser(words: Sequence[str] | None = None) -> CommandParser:
    """The whole command line. ``args.run`` names the function that carries the command out.

    Args:
        words: what is to be parsed: other commands than those named there have no options. None: all of it is wanted.
    """
    parser = CommandParser(prog=PROG, description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    _global_options(parser)
    commands = Commands(parser, words=words)
    for define in (
        buckets, looking, reading, writing, transfers, removing, history, checkpoints, sharing, replaying, analysis,
    ):  # fmt: skip
        define(commands)
    benchmarks(commands, whole=words is None or "bench" in words)
    _this_command(commands)
    asked = {command for name, command in parser.commands().items() if words is None or name in words}
    for group in asked:  # last, so that a command's own options come first in its help
        for command in (group, *group.every_command()):
            _global_options(command, of_command=True)
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; global options may stand before or after the command.

    Raises:
        UsageError: it cannot be understood.
        SystemExit: ``--help`` or ``--version`` was printed.
    """
    args = build_parser(words).parse_args(words)
    args.verbose += vars(args).pop("more_verbose", 0)
    return args


def _global_options(parser: argparse.ArgumentParser, *, of_command: bool = False) -> None:
    """The options of every command. After the command's name they overwrite only what is really given there."""
    none = argparse.SUPPRESS if of_command else None
    no = argparse.SUPPRESS if of_command else False
    group = parser.add_argument_group("global options")
    group.add_argument(
        "-v",
        "--verbose",
        action="count",
        dest="more_verbose" if of_command else "verbose",
        default=argparse.SUPPRESS if of_command else 0,
        help="tell on stderr what is done, and what is tried again; -vv: every request with its URL, status, bytes and "
        "times, and tracebacks of errors",
    )
    group.add_argument("--dump", choices=("headers",), metavar="WHAT", default=none,
                       help="'headers': as -vv, and the header fields of requests and answers too; credentials are "
                       "masked")  # fmt: skip
    group.add_argument("-q", "--quiet", action="store_true", default=no,
                       help="tell only what failed: no summaries, notes and bars; what was asked for as data "
                       "stays")  # fmt: skip
    group.add_argument("--json", action="store_true", default=no, help="print one JSON object per line")
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=none,
        help="progress bars on stderr, or none; by default on a terminal only",
    )
    group.add_argument("--endpoint", "--endpoint-url", dest="endpoint_url", metavar="URL", default=none,
                       help="the address of the service, for s3://, az:// and gs:// alike")  # fmt: skip
    group.add_argument("--endpoints", metavar="URLS", default=none,
                       help="several doors to one S3 service, over which requests are spread: with commas, as a "
                       "template (http://10.0.0.{1...8}:9000), or in a file with one a line (@FILE)")  # fmt: skip
    group.add_argument("--load-balance", type=str.lower, choices=STRATEGIES, metavar="HOW", default=none,
                       help=f"how they are spread: {', '.join(STRATEGIES)}")  # fmt: skip
    group.add_argument("--region", metavar="NAME", default=none, help="the region of the service")
    group.add_argument("--ca-bundle", metavar="FILE", default=none, help="trust the certificates in this PEM file")
    group.add_argument("--profile", metavar="NAME", default=none, help="the profile of the AWS configuration to use")
    group.add_argument("--no-sign-request", action="store_true", default=no, help="send requests without credentials")
    group.add_argument("--bwlimit", type=argument_types.bandwidth, metavar="RATE", default=none,
                       help="bytes a second over the network, at most: 10MiB, 10MB:1MB (up:down), or by the time of "
                       "the day: '08:00,512k 19:00,10M 23:00,off' (default: http.bwlimit, which is off)")  # fmt: skip
    group.add_argument("--profile-run", metavar="FILE.svg", default=none,
                       help="draw where the time of the command goes, thread by thread, as a flame graph")  # fmt: skip
    group.add_argument("--op-log", metavar="FILE", default=none,
                       help="record every operation in this file, compressed with zstd")  # fmt: skip
    group.add_argument("--op-log-format", choices=("tsv", "warp", "jsonl"), default=none,
                       help="of --op-log: a table of 13 columns (the default), of warp's 15, or JSON lines with "
                       "attempts, status and server too")  # fmt: skip


def _this_command(commands: Commands) -> None:
    run = commands.add(
        "run", "run:run", "Run the commands of a file side by side, in one process",
        details="A line is a command without the program's name, with quotes as in a shell; # begins a comment. One "
        "that fails is told with its number, the others go on, and the exit code is 1. Its output comes at its end",
    )  # fmt: skip
    run.add_argument("file", metavar="FILE", help="the commands; '-': standard input")
    jobs(run, 32, "--numworkers")
    dry_run(run, "print the commands, and run none")
    config = commands.add("config", "config:run", "Show every setting, its value and where it comes from",
                          details="Secrets are masked. Below stand how large bodies cross TLS, and variables that have "
                          "no effect here; --json adds what each setting does")  # fmt: skip
    config.add_argument("--changed", action="store_true",
                        help="show only settings that are not the defaults, versions, the machine, and which fast "
                        "paths are open: what belongs to a figure")  # fmt: skip
    completion = commands.add("completion", "completion:run", "Print the completion script of a shell",
                              details="Commands, options, paths, buckets and keys are completed, for s3dlio too. In "
                              "~/.bashrc or ~/.zshrc: eval \"$(s3-cli completion bash)\" (or zsh); in "
                              "~/.config/fish/config.fish: s3-cli completion fish | source")  # fmt: skip
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
