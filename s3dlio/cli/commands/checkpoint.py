"""``checkpoint``: what a training run has saved, whether it is whole, and what of it may go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from s3dlio.cli.context import Context
from s3dlio.cli.output import error_record, escaped, message
from s3dlio.errors import CorruptDataError, IntegrityError, ObjectNotFoundError, UnsafeKeyError
from s3dlio.figures import size as human_size

if TYPE_CHECKING:
    from s3dlio.checkpoint.reader import CheckpointInfo
    from s3dlio.checkpoint.store import CheckpointStore
    from s3dlio.checkpoint.verify import Verified


def ls(context: Context) -> None:
    """A line for each checkpoint.

    Raises:
        CorruptDataError: the pointer to the latest is damaged; all checkpoints were listed.
    """
    store = _store(context)
    latest, damage = None, None
    try:
        latest = store.latest()
    except (CorruptDataError, UnsafeKeyError) as error:
        damage = error
    found = store.list_checkpoints()
    for each in found:
        is_latest = latest is not None and each.manifest_key == latest.manifest_key
        line = f"{'*' if is_latest else ' '} {_line(context, each)}  {escaped(each.status)}"
        context.out.result(_record(each) | {"latest": is_latest}, line)
    if damage is not None:
        raise damage
    if not found:
        context.out.note("no checkpoints")


def show(context: Context) -> None:
    """The manifest of one checkpoint.

    Raises:
        ObjectNotFoundError: there is none of that step, or none at all.
    """
    args, out = context.args, context.out
    manifest = _store(context).manifest(args.step)
    record = manifest.as_dict()
    shards = record.pop("shards")
    out.result({**record, "shards": shards})
    if out.as_json:
        return
    for name, value in record.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        out.result({}, f"{name:<16}: {escaped(shown)}")
    for shard in shards:
        out.result({}, out.name(f"  rank {shard['rank']:>5}  {_size(context, shard['size']):>14}  "
                                f"{shard['checksum'] or '-':<15}  {shard['key']}"))  # fmt: skip


def verify(context: Context) -> None:
    """A line for each checkpoint, and one for each thing that is wrong with it.

    Raises:
        ObjectNotFoundError: there is no checkpoint, or none of a step that was asked for.
        IntegrityError, CorruptDataError: a checkpoint is damaged, or the pointer to the latest.
    """
    args, store = context.args, _store(context)
    found = [each for each in store.list_checkpoints() if not args.step or each.step in args.step]
    if missing := set(args.step) - {each.step for each in found}:
        raise ObjectNotFoundError(f"there is no checkpoint of step {min(missing)}", uri=args.uri)
    if not found:
        raise ObjectNotFoundError("there are no checkpoints", uri=args.uri)
    damaged = 0
    for verified in store.verify(*found, fraction=args.read_data_subset / 100):
        damaged += bool(verified.damages)
        _report(context, verified)
    if damaged:
        raise IntegrityError(f"of {len(found)} checkpoints {damaged} are damaged", uri=args.uri, operation="VERIFY")
    store.latest()  # the pointer is to be whole, too


def _report(context: Context, verified: Verified) -> None:
    each, damages = verified.checkpoint, verified.damages
    record = _record(each) | {"read": verified.read, "damages": [error_record(error) for error in damages]}
    read = f"{_size(context, verified.read)} of {_size(context, each.total_size)} bytes read"
    out = context.out
    out.result(record, f"{'damaged' if damages else 'whole':<8} {_line(context, each)}  {read}")
    if not out.as_json:
        out.results((), (out.name(f"  {message(error)}") for error in damages))


def prune(context: Context) -> None:
    """A line for each checkpoint: kept or deleted."""
    args, out = context.args, context.out
    if not args.keep_last and args.keep_every is None:
        context.refuse("nothing says what to keep: give --keep-last N, --keep-every K, or both")
    pruned = _store(context).prune(keep_last=args.keep_last, keep_every=args.keep_every, dry_run=args.dry_run)
    gone = "would delete" if args.dry_run else "deleted"
    for verb, chosen in (("kept", pruned.kept), (gone, pruned.deleted)):
        for each in chosen:
            out.result(_record(each) | {"action": verb.split()[-1]}, f"{verb:<12} {_line(context, each)}")
    freed = _size(context, sum(each.total_size for each in pruned.deleted))
    out.note(f"{len(pruned.kept)} kept, {len(pruned.deleted)} {gone.replace('would delete', 'to be deleted')}: {freed}")


def _store(context: Context) -> CheckpointStore:
    from s3dlio.checkpoint.store import CheckpointStore

    return CheckpointStore(context.args.uri, client=context.client)


def _record(each: CheckpointInfo) -> dict[str, Any]:
    return {
        "step": each.step, "epoch": each.epoch, "framework": each.framework, "timestamp": each.timestamp,
        "world_size": each.world_size, "bytes": each.total_size, "status": each.status, "manifest": each.manifest_key,
    }  # fmt: skip


def _line(context: Context, each: CheckpointInfo) -> str:
    ranks = f"{each.world_size} rank{'' if each.world_size == 1 else 's'}"
    size = _size(context, each.total_size)
    return f"{each.step:>10}  {each.timestamp}  {ranks:>11}  {size:>14}  {escaped(each.framework)}"


def _size(context: Context, number: int) -> str:
    return human_size(number) if getattr(context.args, "human_readable", False) else str(number)
