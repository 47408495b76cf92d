"""How a command that moves many objects ends."""

from __future__ import annotations

from typing import Any, NoReturn

from s3dlio.cli.output import Output, counted
from s3dlio.errors import BatchError
from s3dlio.figures import size as human_size
from s3dlio.transfer.summary import TransferSummary
from s3dlio.transfer.times import told


def finish(
    out: Output,
    operation: str,
    summary: TransferSummary,
    *,
    label: str = "",
    dry_run: bool = False,
    done: str = "copied",
) -> None:
    """Print what was done: how fast on stderr, the counts on stdout.

    Args:
        out: where to.
        operation: ``PUT``, ``GET``, ...
        summary: the end of the transfer.
        label: stands behind ``summary`` in the line.
        dry_run: nothing was done; ``attempted`` is what would be.
        done: what would be done.

    Raises:
        BatchError: objects failed; it carries them all. The only object's own error, where there is one object.
    """
    if dry_run:
        would = {"attempted": summary.attempted, "bytes": summary.bytes, "deleted": summary.deleted}
        out.result({"operation": operation, "dry_run": True, **would})
        deleted = f", {summary.deleted} deleted" if summary.deleted or operation == "SYNC" else ""
        skipped = f"; {summary.skipped} skipped" if summary.skipped else ""
        out.note(f"{counted(summary.attempted)} ({summary.bytes} bytes) would be {done}{deleted}{skipped}")
        return
    tell(out, operation, summary, label=label)
    if summary.attempted == len(summary.failures) == 1:
        raise summary.failures[0].error
    given_up = summary.given_up
    hint = f"{given_up} in flight were given up; to go on past failures use --continue-on-error" if given_up else None
    summary.raise_for_failures(operation, hint=hint)


def finish_failed(out: Output, operation: str, error: BatchError, *, label: str = "") -> NoReturn:
    """Print the counts of a transfer that raised them.

    Raises:
        BatchError: the ``error``, or the only object's own error.
    """
    if error.summary is not None:
        tell(out, operation, error.summary, label=label)
    if error.attempted == len(error.failures) == 1:
        raise error.failures[0].error
    raise error


def tell(
    out: Output, operation: str, summary: TransferSummary, *, label: str = "", interrupted: bool = False
) -> None:
    """Print what was done: how fast on stderr, the counts on stdout."""
    counts = {"attempted": summary.attempted, "succeeded": summary.succeeded, "failed": summary.failed}
    counts |= {name: count for name in ("skipped", "deleted") if (count := getattr(summary, name))}
    out.note(speed(summary.succeeded, summary.bytes, summary.seconds))
    times = {} if summary.times is None else summary.times.as_dict()
    if times:
        out.note(told(times))
    if again := summary.retries:
        out.note(f"{again} request{'' if again == 1 else 's'} sent again after failures (-v tells why)")
    words = ", ".join(f"{name}={count}" for name, count in counts.items())
    more: dict[str, Any] = {"skipped": summary.skipped}
    if operation == "SYNC":
        more["deleted"] = summary.deleted
    more |= {"bytes": summary.bytes, "seconds": round(summary.seconds, 6), "retries": summary.retries, **times}
    if interrupted:
        more["interrupted"] = True
    if summary.ranks:
        more["ranks"] = list(summary.ranks)
    out.summary({"operation": operation, **counts, **more}, f"{operation} summary{label}: {words}")


def speed(objects: int, size: int, seconds: float) -> str:
    """``100 objects: 4096 bytes in 0.100s (40.0 KiB/s, 1000 objects/s)``."""
    took = max(seconds, 1e-9)
    rates = f"{human_size(size / took)}/s, {objects / took:.0f} objects/s"
    return f"{counted(objects)}: {size} bytes in {seconds:.3f}s ({rates})"
