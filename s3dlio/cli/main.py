"""``s3-cli``: parse, run one command, and turn whatever happens into words and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

from s3dlio.cli.context import Context
from s3dlio.cli.grammar import UsageError
from s3dlio.cli.output import Output, counted, escaped
from s3dlio.cli.parser import parse
from s3dlio.errors import TransferCancelledError

OK, FAILED, USAGE = 0, 1, 2
_SIGNALLED = 128  # as shells report it: 130 after Ctrl-C, 143 after SIGTERM, 141 where the reader of a pipe has gone


class _Terminated(KeyboardInterrupt):
    """SIGTERM: cleaned up after like Ctrl-C."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own by default) and return its exit code."""
    words = sys.argv[1:] if words is None else words
    _accept_any_name()
    out = Output(as_json="--json" in words)
    try:
        args = parse(words)
    except UsageError as error:
        _print_usage(out, error)
        return USAGE
    out = Output(as_json=args.json, progress=args.progress, verbosity=args.verbose)
    _start_logging(args.verbose)
    with _sigterm_like_ctrl_c():
        return _run(Context(args, out))


def _run(context: Context) -> int:
    module, _, function = context.args.run.partition(":")
    try:
        getattr(importlib.import_module(f"s3dlio.cli.commands.{module}"), function)(context)
        context.out.stdout.flush()
        return OK
    except UsageError as error:
        _print_usage(context.out, error)
        return USAGE
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end, which must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGNALLED + signal.SIGPIPE
    except KeyboardInterrupt as error:
        number = signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT
        done = context.counted.objects if context.counted is not None else 0
        after = f" after {counted(done)}" if done else ""
        if context.out.as_json:
            context.out.error(TransferCancelledError(f"ended by {number.name}{after}"))
        else:
            context.out.note(("Terminated" if isinstance(error, _Terminated) else "\nInterrupted") + after)
        return _SIGNALLED + number
    except Exception as error:
        with contextlib.suppress(BrokenPipeError):
            context.out.stdout.flush()  # what was done comes before why it ended
        context.out.error(error)
        return FAILED


def _print_usage(out: Output, error: UsageError) -> None:
    if out.as_json:
        out.error(error)
    else:
        print(f"{error.usage}{error.prog}: error: {error}", file=out.stderr)


def _accept_any_name() -> None:
    """Names of files may hold bytes that are no UTF-8; they go out as they came in."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape")


class _Escaping(logging.Formatter):
    """Names and texts of services that are logged cannot move the cursor of a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return "\n".join(map(escaped, super().formatMessage(record).split("\n")))


def _start_logging(verbosity: int) -> None:
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Escaping("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("s3dlio").setLevel(level)


@contextlib.contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not in the main thread: the program around us handles its signals itself
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
