"""``replay``: what op-logs recorded is done again."""

from __future__ import annotations

from collections.abc import Iterator

from s3dlio.cli.context import Context
from s3dlio.cluster.replaying import GroupReplay
from s3dlio.errors import ConfigError
from s3dlio.figures import size as human_size
from s3dlio.oplog.replay.config import ReplayConfig
from s3dlio.oplog.replay.plan import ReplayPlan
from s3dlio.oplog.replay.replaying import INTERRUPTED
from s3dlio.oplog.replay.report import ReplayReport
from s3dlio.oplog.replay.report_text import report_lines
from s3dlio.transfer.progress import reporting


def run(context: Context) -> None:
    """Replay the logs, or with ``--dry-run`` tell what that would be; then the report, also of an interrupted one."""
    args = context.args
    if args.think_time and not args.closed_loop:
        context.refuse("--think-time keeps the pauses of --closed-loop, which is not given")
    if args.max_errors is not None and not args.continue_on_error:
        context.refuse("--max-errors says when --continue-on-error ends, which is not given")
    config = _config(context)
    if args.dry_run:
        if not context.group.rank:
            _show_plan(context, ReplayPlan(config))
        return
    with reporting(context.bar("REPLAY", by_objects=True)) as progress:
        replay = GroupReplay(context.group, context.plain_client, config, progress)
        try:
            report = replay.run()
        finally:
            if replay.report.attempted or replay.report.stopped == INTERRUPTED:
                _show(context, replay.report)
    report.raise_for_failures()
    if not report.attempted:
        _show(context, report)
        raise ConfigError("there was nothing to replay", hint="--dry-run tells what the log has and what was left out")


def _config(context: Context) -> ReplayConfig:
    args = context.args
    mapping: dict[str, list[str]] = {}
    for prefix, targets in args.mapping:
        mapping.setdefault(prefix, []).extend(targets)
    return ReplayConfig(
        op_log_path=args.logs, target_uri=args.target, mapping=mapping, in_place=args.in_place,
        prepare=args.prepare, speed=args.speed,
        closed_loop=args.closed_loop, think_time=args.think_time, remap_clients=args.clients, filter_ops=args.ops,
        pattern=args.pattern, min_size=args.min_size, max_size=args.max_size, since=args.since, until=args.until,
        clients=args.client, max_in_flight=args.jobs, continue_on_error=args.continue_on_error,
        max_errors=args.max_errors, strict=args.strict, allow_truncated=args.allow_truncated, window=args.sort_window,
        dedup=args.dedup, compress=args.compress, seed=args.seed,
    )  # fmt: skip


def _show(context: Context, report: ReplayReport) -> None:
    context.out.result({"operation": "REPLAY", **report.to_dict()}, "\n".join(report_lines(report)))


def _show_plan(context: Context, plan: ReplayPlan) -> None:
    context.out.result({"operation": "REPLAY", "dry_run": True, **plan.to_dict()}, "\n".join(_plan_lines(plan)))


def _plan_lines(plan: ReplayPlan) -> Iterator[str]:
    count = sum(plan.counts.values())
    yield (
        f"{count} operations of {len(plan.clients)} clients with {plan.threads} threads "
        f"would be replayed in {plan.span / 1e9:.3f} s"
    )
    for kind, number in sorted(plan.counts.items()):
        yield f"  {kind:<10} {number:>10}  {human_size(plan.sizes[kind])}"
    for why, number in plan.skipped.items():
        yield f"  left out: {number} ({why})"
    for kind, recorded, uri in plan.examples:
        yield f"  {kind} {recorded}" + (f" -> {uri}" if uri != recorded else "")
    if plan.refusal:
        yield f"as it is this would be refused: {plan.refusal}"
