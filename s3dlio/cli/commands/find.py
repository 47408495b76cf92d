"""``find``: objects by name, size and age, and a command for each."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from s3dlio.cli.context import Context
from s3dlio.errors import ConfigError, LocalIOError, S3dlioError
from s3dlio.figures import size as human_size
from s3dlio.transfer.find import FoundObject

#: What stands for the URI and the key in a command.
URI, KEY = "{}", "{key}"
#: Both in one pass: what a name that was put in looks like is left alone.
_PLACEHOLDER = re.compile(f"{re.escape(URI)}|{re.escape(KEY)}")

#: A command that was started, and how it will end.
_Running = tuple[list[str], "Future[subprocess.CompletedProcess[Any]]"]

#: So many objects are given to one command that ends in ``+``, unless their names are long.
_AT_ONCE, _CHARACTERS = 1000, 100_000


def run(context: Context) -> None:
    """One line for each, or the command; what several URIs have is found one after the other."""
    args = context.args
    if args.command_line is None:
        if args.jobs > 1:
            context.refuse("-j is how many commands of --exec run at a time")
        with context.looking("FIND", looked="found") as look:
            context.each(args.uris, lambda uri: _print(context, _found(context, uri), look))
        return
    if args.long or args.human_readable or args.end != "\n":
        context.refuse("--exec prints what its command prints: leave out -l, -H and -0")
    if args.command_line[:1] in ([], ["+"], [""]):
        context.refuse("--exec names no command")
    context.each(args.uris, lambda uri: _run_each(context, uri))


def _found(context: Context, uri: str) -> Iterator[FoundObject]:
    args = context.args
    least = [low for low, _ in args.size if low is not None] + [n for n in (args.min_size,) if n is not None]
    most = [high for _, high in args.size if high is not None] + [n for n in (args.max_size,) if n is not None]
    return context.client.find(
        uri, name=args.name, iname=args.iname, path=args.path, regex=args.regex,
        min_size=max(least, default=None), max_size=min(most, default=None), min_age=args.min_age,
        max_age=args.max_age, max_depth=args.maxdepth,
    )  # fmt: skip


def _print(context: Context, found: Iterable[FoundObject], look: Callable[[int], None]) -> None:
    args, out = context.args, context.out
    for one in found:
        look(1)
        text = out.name(one.uri)
        if args.long or args.human_readable:
            size = human_size(one.size) if args.human_readable else str(one.size)
            text = f"{size:>14}  {out.name(one.last_modified or ''):<30}  {text}"
        record = {name: value for name, value in one._asdict().items() if value is not None}
        out.result(record, text, end=args.end)


def _run_each(context: Context, uri: str) -> None:
    """Run the command for all that is found; where one fails, that is told and the others go on."""
    words, many = context.args.command_line, context.args.command_line[-1:] == ["+"]
    words = words[:-1] if many else words
    if not any(URI in word or KEY in word for word in words):
        words = [*words, URI]
    context.out.stdout.flush()
    commands = (_filled(context, words, some) for some in _groups(_found(context, uri), many))
    with ThreadPoolExecutor(context.args.jobs) as pool:
        running: list[_Running] = []
        for command in commands:
            while len(running) >= context.args.jobs:
                _end(context, running.pop(0))
            running.append((command, pool.submit(subprocess.run, command)))
        for one in running:
            _end(context, one)


def _groups(found: Iterator[FoundObject], many: bool) -> Iterator[list[FoundObject]]:
    while some := list(itertools.islice(found, 1)):
        length = len(some[0].uri)
        while many and len(some) < _AT_ONCE and length < _CHARACTERS and (one := next(found, None)) is not None:
            some.append(one)
            length += len(one.uri)
        yield some


def _filled(context: Context, words: Sequence[str], found: Sequence[FoundObject]) -> list[str]:
    """The command for these objects: a word that is a placeholder becomes as many words as there are objects."""
    store_for = context.client.store_for
    values = {URI: [one.uri for one in found], KEY: [store_for(one.uri)[1] for one in found]}
    if len(found) == 1:
        return [_PLACEHOLDER.sub(lambda found: values[found[0]][0], word) for word in words]
    if any(word not in values and (URI in word or KEY in word) for word in words):
        raise ConfigError("with '+' a placeholder stands alone", hint="end the command with ';' to run it for each")
    return [value for word in words for value in values.get(word, [word])]


def _end(context: Context, running: _Running) -> None:
    command, future = running
    try:
        code = future.result().returncode
    except OSError as error:
        raise LocalIOError(f"{command[0]} cannot be run: {error.strerror}") from error
    if code:
        context.tell(S3dlioError(f"{' '.join(command)} ended with {code}"))
