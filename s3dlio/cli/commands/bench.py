"""``bench``: measure a store."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

from s3dlio.bench.environment import environment
from s3dlio.bench.plan import Plan
from s3dlio.bench.plot import plot
from s3dlio.bench.report import report, table
from s3dlio.bench.runner import Bench
from s3dlio.bench.sizes import Sizes
from s3dlio.cli.context import Context
from s3dlio.cli.signals import ENDING, handling
from s3dlio.cli.streams import write_report
from s3dlio.engine.cancel import CancelToken
from s3dlio.errors import ConfigError, S3dlioError
from s3dlio.uri import LOCAL_SCHEMES


def run(context: Context) -> None:
    """One benchmark; its result is told even where it was interrupted, or operations failed."""
    args = context.args
    if args.duration is not None and args.count is not None:
        context.refuse("a run ends after --duration or after --count: give one of them")
    if args.plot is not None:
        _check_plot(context, args.plot)
    cancel = CancelToken()
    try:
        plan = _plan(args)
    except ConfigError as error:
        context.refuse(f"{error.reason}; {error.hint}" if error.hint else error.reason)
    if args.create_bucket:
        store, _ = context.client.store_for(plan.uri)
        if store.scheme not in LOCAL_SCHEMES:
            context.group.first(store.create_container)
    bench = Bench(context.plain_client, plan, group=context.group, cancel=cancel, note=context.out.note)
    told: list[signal.Signals] = []
    with _ends_softly(cancel, told):
        try:
            bench.run()
        finally:
            if (bench.results or told) and not context.group.rank:
                _show(context, bench)
    if told:
        signal.raise_signal(told[0])
    failed = sum(result.errors for result in bench.results)
    if failed:
        raise S3dlioError(f"{failed} operations failed: {_first_failure(bench)}", uri=bench.directory)


def _plan(args: Any) -> Plan:
    seconds = None if args.count is not None else 10.0 if args.duration is None else args.duration
    mix = None if args.mix is None else {name: getattr(args, f"{name}_distrib") for name in args.mix}
    return Plan(
        operation=args.subcommand, uri=args.uri, sizes=Sizes.parse(args.size, logarithmic=args.log_uniform),
        objects=args.objects, concurrent=args.concurrent, seconds=seconds, count=args.count, warm_up=args.warm_up,
        seed=args.seed, range_size=args.range_size, discard=args.discard, mix=mix, batch=args.batch, dedup=args.dedup,
        compress=args.compress, fresh=args.fresh_data, procs=args.procs, prefix=args.prefix, prepare=args.prepare,
        clean=args.clean,
    )  # fmt: skip


def _show(context: Context, bench: Bench) -> None:
    found = report(bench, environment(context.client.settings))
    context.out.result(found, "\n".join(table(found)))
    if context.args.plot is not None:
        write_report(context.args.plot, plot(found, html=context.args.plot.endswith(".html")))


def _check_plot(context: Context, path: str) -> None:
    """Refuse what cannot be written before anything is measured."""
    if not path.endswith((".svg", ".html")):
        context.refuse(f"--plot draws .svg and .html, not '{path}'")
    if not os.path.isdir(os.path.dirname(path) or "."):
        context.refuse(f"there is no directory for '{path}'")


def _first_failure(bench: Bench) -> str:
    return next(message for result in bench.results for _, message in result.failures.values())


@contextlib.contextmanager
def _ends_softly(cancel: CancelToken, told: list[signal.Signals]) -> Iterator[None]:
    """The first Ctrl-C ends what is measured: the result is told and what was written deleted. The next one ends that,
    too."""

    def end(number: signal.Signals) -> None:
        told.append(number)
        cancel.cancel(number.name)

    with handling(ENDING, end, once=True):
        yield
