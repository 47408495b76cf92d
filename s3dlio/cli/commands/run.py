"""``run``: command lines of a file side by side in one process, with one client for all of them."""

from __future__ import annotations

import contextlib
import importlib
import io
import queue
import re
import shlex
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, cast

from s3dlio.cli.context import Context
from s3dlio.cli.output import Output, counted
from s3dlio.cli.parser import PROG, parse
from s3dlio.cli.streams import open_input, standard_input
from s3dlio.engine.cancel import AwaitToken, cancelled_by
from s3dlio.errors import ConfigError
from s3dlio.foreign_errors import from_os_error

#: Bytes of the output of one line that are kept in memory until it has ended; more go to a temporary file.
_KEPT = 1 << 20
#: Seconds that commands get to clean up after an interruption.
_CLEANING = 5.0
#: What cannot run beside others: they use what there is once in a process.
_ALONE = frozenset({"run", "completion", "bench", "replay"})


_COMMENT = re.compile(r"\s*#")


class _Line(NamedTuple):
    number: int
    text: str


def run(context: Context) -> None:
    """One command a line; one that fails does not stop the others, and the exit code is 1."""
    args = context.args
    lines = _lines(args.file)
    if args.dry_run:
        for line in lines:
            context.each([line], lambda one: _show(context, one))
        return
    _Workers(context, lines).run(args.jobs)


def _lines(path: str) -> Iterator[_Line]:
    """The lines that are commands, while they come."""
    try:
        with contextlib.ExitStack() as opened:
            file = standard_input() if path == "-" else opened.enter_context(open_input(path))
            for number, text in enumerate(file, 1):
                if text.strip() and not text.lstrip().startswith("#"):
                    yield _Line(number, text.strip())
    except OSError as exc:
        raise from_os_error(exc, uri=path, operation="read") from exc


def _split(text: str) -> Iterator[str]:
    """The words as a shell reads them: ``#`` begins a comment only where a word would begin. Within one it is part of a
    name, and what :mod:`shlex` would leave of that may name something else."""
    source = io.StringIO(text)
    lexer = shlex.shlex(source, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    while not _COMMENT.match(text, source.tell()) and (word := lexer.get_token()) is not None:
        yield word


def _words(line: _Line) -> list[str]:
    """The words of a command, without the program's own name.

    Raises:
        ConfigError: a quote is not closed, or the command cannot run here.
    """
    try:
        words = list(_split(line.text))
    except ValueError as error:
        raise ConfigError(f"the line cannot be understood: {error}") from error
    words = words[1:] if words[:1] in ([PROG], ["s3dlio"]) else words
    name = next((word for word in words if not word.startswith("-")), "")
    if name in _ALONE or any(word.partition("=")[0] == "--op-log" for word in words):
        raise ConfigError("this cannot run beside other commands", hint="--op-log: give it to run itself")
    if any(word in ("-h", "--help", "--version") for word in words):
        raise ConfigError("help is given to people", hint=f"{PROG} {name} --help")
    if "-" in words:
        raise ConfigError("standard input and output are those of run", hint="name a file instead of '-'")
    return words


def _show(context: Context, line: _Line) -> None:
    words = _words(line)
    parse(words)
    context.out.result({"line": line.number, "command": words, "dry_run": True}, context.out.name(shlex.join(words)))


class _LineOutput(Output):
    """The output of one line, kept together until the line has ended; errors name the line."""

    def __init__(self, line: _Line, of: Output, **options: Any) -> None:
        self._line = line
        self._kept = cast(io.BytesIO, tempfile.SpooledTemporaryFile(_KEPT))  # noqa: SIM115 - until its output is given
        out = io.TextIOWrapper(self._kept, encoding="utf-8", errors="surrogateescape", write_through=True)
        super().__init__(progress=False, stdout=out, stderr=io.StringIO(), **options)
        self.on_terminal = of.on_terminal

    def error(self, error: BaseException) -> None:
        if self.as_json:
            print(_record(self._line, error), file=self.stderr)
            return
        print(f"line {self._line.number} ({self._line.text}): ", end="", file=self.stderr)
        super().error(error)

    def give(self, out: Output) -> None:
        """Write what was kept to the real streams."""
        self.stdout.flush()
        self._kept.seek(0)
        out.stdout.flush()
        raw = out.stdout.buffer if hasattr(out.stdout, "buffer") else None
        while piece := self._kept.read(_KEPT):
            if raw is not None:
                raw.write(piece)
            else:
                out.stdout.write(piece.decode("utf-8", "surrogateescape"))
        out.stdout.flush()
        out.stderr.write(cast(io.StringIO, self.stderr).getvalue())
        out.stderr.flush()
        self.stdout.close()


def _record(line: _Line, error: BaseException) -> str:
    import json

    from s3dlio.cli.output import error_record

    return json.dumps({"error": {**error_record(error), "line": line.number, "command": line.text}})


class _Workers:
    """Threads that run the lines."""

    def __init__(self, context: Context, lines: Iterator[_Line]) -> None:
        self._context = context
        self._lines = lines
        self._given: queue.Queue[_Line | None] = queue.Queue(1)
        self._token = AwaitToken()
        self._writing = threading.Lock()
        self.done = self.failed = 0
        self._client = threading.Lock()
        self._broken: BaseException | None = None

    def run(self, width: int) -> None:
        """Run all lines, ``width`` at a time."""
        threads: list[threading.Thread] = []
        try:
            for line in self._lines:
                if self._token.cancelled:
                    break
                if len(threads) < width:
                    threads.append(threading.Thread(target=self._work, name=f"run-{len(threads)}", daemon=True))
                    threads[-1].start()
                self._given.put(line)
            for _ in threads:
                self._given.put(None)
            for thread in threads:
                thread.join()
            if self._broken is not None:
                raise self._broken
        except BaseException:
            self._token.cancel("interrupted")
            for thread in threads:
                thread.join(_CLEANING / len(threads))
            raise
        out = self._context.out
        out.total({"operation": "RUN", "commands": self.done, "failed": self.failed},
                  f"{counted(self.done).replace('object', 'command')}, {self.failed} failed")  # fmt: skip
        self._context.failed = bool(self.failed)

    def _work(self) -> None:
        while (line := self._given.get()) is not None:
            try:
                if not self._token.cancelled:
                    cancelled_by(self._token, partial(self._one, line))
            except BaseException as error:  # nobody reads the output any more: no further line is begun
                self._broken = error
                self._token.cancel("a line could not be told of")

    def _one(self, line: _Line) -> None:
        above = self._context.args
        out = _LineOutput(line, self._context.out, as_json=above.json, verbosity=above.verbose, quiet=above.quiet)
        failed = True
        try:
            failed = self._run_line(line, out)
        except Exception as error:
            if not self._token.cancelled:
                out.error(error)
        with self._writing:
            self.done += 1
            self.failed += failed
            out.give(self._context.out)

    def _run_line(self, line: _Line, out: _LineOutput) -> bool:
        """Whether the command failed, and said so."""
        above = self._context.args
        args = parse([*_above(above), *_words(line)])
        out.as_json, out.quiet = args.json, args.quiet
        context = Context(args, out)
        if context.given == self._context.given:
            with self._client:
                context.plain_client = self._context.client
        module, _, name = args.run.partition(":")
        function: Callable[[Context], None] = getattr(
            importlib.import_module(f"s3dlio.cli.commands.{module}"), name
        )
        function(context)
        return context.failed


#: Options of ``run`` that hold for every line, unless the line says something else.
_INHERITED = {
    "endpoint_url": "--endpoint-url", "endpoints": "--endpoints", "load_balance": "--load-balance",
    "region": "--region", "ca_bundle": "--ca-bundle", "profile": "--profile", "bwlimit": "--bwlimit",
}  # fmt: skip


def _above(args: Any) -> list[str]:
    given = {option: getattr(args, name) for name, option in _INHERITED.items()}
    words = [f"{option}={value}" for option, value in given.items() if value is not None]
    words += ["-" + "v" * args.verbose] if args.verbose else []
    return words + ["--json"] * args.json + ["--quiet"] * args.quiet + ["--no-sign-request"] * args.no_sign_request
