"""``s3-cli``: parse, run one command, and turn whatever happens into words and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from s3dlio.cli.argument_parser import UsageError
from s3dlio.cli.context import Context
from s3dlio.cli.output import Output, counted, escaped
from s3dlio.cli.parser import parse
from s3dlio.cli.signals import ENDING, handling
from s3dlio.cli.streams import prepare as prepare_streams
from s3dlio.cli.streams import write_report
from s3dlio.errors import S3dlioError, TransferCancelledError
from s3dlio.launcher import mpi_rank
from s3dlio.wording import spoken_at_command

if TYPE_CHECKING:
    from s3dlio.transfer.summary import TransferSummary

OK, FAILED, USAGE = 0, 1, 2
#: As shells report it: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, 141 where the reader of a pipe has gone.
_SIGNALLED = 128
#: The level at which header fields are logged (``net.tracing``).
HEADERS = 5
#: What is said of signals that end a command, which cleans up as after Ctrl-C.
_WORDS = dict(zip(ENDING, ("\nInterrupted", "Terminated", "Hung up"), strict=False))


class _EndedBySignal(KeyboardInterrupt):
    """Another signal than that of Ctrl-C.

    Args:
        number: which.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self.number = number


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own by default) and return its exit code."""
    words = sys.argv[1:] if words is None else words
    prepare_streams()
    if words[:1] == ["__complete"]:
        from s3dlio.cli.completing import answer  # a shell asks

        return answer(words[1:])
    out = Output(as_json="--json" in words)
    try:
        args = parse(words)
    except UsageError as error:
        _print_usage(out, error)
        return USAGE
    out = Output(as_json=args.json, progress=args.progress, verbosity=args.verbose, quiet=args.quiet)
    _start_logging(args.verbose, dump=args.dump)
    with handling(ENDING[1:], _end), warnings.catch_warnings(), spoken_at_command():
        if args.verbose < 2:
            warnings.simplefilter("ignore")  # they are for programmers
        return _run_profiled(Context(args, out))


def _run_profiled(context: Context) -> int:
    """Run the command, and draw where its time went if that is wanted, however the command ends."""
    place = context.args.profile_run
    if place is None:
        return _run_in_job(context)
    from s3dlio.cli.flame_graph import flame_graph
    from s3dlio.cli.sampling import Sampler

    with Sampler() as sampler:
        code = _run_in_job(context)
    title = f"s3-cli {context.args.command}: {sampler.samples:,} samples"
    rank = mpi_rank()[0]  # of a job each rank draws its own
    try:
        write_report(f"{place}.{rank}.svg" if rank else place, flame_graph(sampler.seconds, title))
    except S3dlioError as error:
        context.out.error(error)
        return code or FAILED
    return code


def _run_in_job(context: Context) -> int:
    """Run the command, with the other ranks of a job where it divides its work among them."""
    if mpi_rank()[1] > 1:
        from s3dlio.cli.job import COMMANDS, run_in_job

        if context.args.command in COMMANDS:
            return run_in_job(context, _run_recorded)
    return _run_recorded(context)


def _run_recorded(context: Context) -> int:
    """Run the command, with an op-log where one is wanted; that is whole however the command ends."""
    if context.args.op_log is None:
        return _run(context)
    from s3dlio.oplog.control import finalize_op_log, init_op_log

    try:
        init_op_log(context.args.op_log, format=context.args.op_log_format)
        code = _run(context)
        finalize_op_log()
    except Exception as error:
        context.out.error(error)
        return FAILED
    return code


def _run(context: Context) -> int:
    module, _, function = context.args.run.partition(":")
    try:
        with context.group.telling_errors():
            getattr(importlib.import_module(f"s3dlio.cli.commands.{module}"), function)(context)
        context.out.stdout.flush()
        return FAILED if context.failed else OK
    except UsageError as error:
        _print_usage(context.out, error)
        return USAGE
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end, which must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGNALLED + signal.SIGPIPE
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, _EndedBySignal) else signal.SIGINT
        with contextlib.suppress(OSError):  # the terminal may have gone
            _tell_interrupted(context, number, getattr(error, "summary", None))
        return _SIGNALLED + number
    except Exception as error:
        with contextlib.suppress(BrokenPipeError):
            context.out.stdout.flush()  # what was done comes before why it ended
        context.suggest_bucket(error)
        context.out.error(error)
        return FAILED


def _tell_interrupted(context: Context, number: signal.Signals, summary: TransferSummary | None) -> None:
    """Why the command ended, and what was done until then."""
    counter, out = context.counted, context.out
    done = summary.succeeded if summary is not None else counter.objects if counter is not None else 0
    after = f" after {counted(done)}" if done else ""
    if out.as_json:
        out.error(TransferCancelledError(f"ended by {number.name}{after}"))
    else:
        out.note(_WORDS[number] + after)
    if summary is not None and counter is not None and (summary.attempted or summary.skipped):
        from s3dlio.cli.summary import tell

        tell(out, counter.title, summary, interrupted=True)
        out.stdout.flush()


def _print_usage(out: Output, error: UsageError) -> None:
    if out.as_json:
        out.error(error)
    else:
        print(f"{error.usage}{error.prog}: error: {error}", file=out.stderr)


class _Escaping(logging.Formatter):
    """Names and texts of services that are logged cannot move the cursor of a terminal."""

    traces = False

    def formatException(self, ei: Any) -> str:
        return super().formatException(ei) if self.traces else ""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return "\n".join(map(escaped, super().formatMessage(record).split("\n")))


def _start_logging(verbosity: int, *, dump: str | None = None) -> None:
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    if dump == "headers":
        level = HEADERS
    handler = logging.StreamHandler(sys.stderr)
    formatter = _Escaping("%(levelname)s %(name)s: %(message)s")
    formatter.traces = verbosity >= 2
    handler.setFormatter(formatter)
    # What an SDK warns of before it fails, the error says.
    logging.basicConfig(level=logging.WARNING if verbosity else logging.ERROR, handlers=[handler])
    logging.getLogger("s3dlio").setLevel(level)


def _end(number: signal.Signals) -> None:
    raise _EndedBySignal(number)
