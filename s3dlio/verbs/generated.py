"""The verb that writes generated objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from s3dlio.engine.session import Session
from s3dlio.signatures import refuses_unknown
from s3dlio.types import NO_OPTIONS, PutOptions
from s3dlio.verbs.keywords import ObjectKeywords

if TYPE_CHECKING:
    from s3dlio.transfer.actions import Act
    from s3dlio.transfer.progress import Progress
    from s3dlio.transfer.summary import TransferSummary

DEFAULT_SIZE = 20 << 20


@refuses_unknown(TypeError, more=ObjectKeywords)
def put(
    session: Session,
    prefix: str,
    num: int = 1,
    template: str | None = None,
    max_in_flight: int = 64,
    size: int | None = None,
    should_create_bucket: bool = False,
    object_type: str = "RAW",
    dedup_factor: int = 1,
    compress_factor: int = 1,
    data_gen_algorithm: str = "random",
    data_gen_mode: str = "streaming",
    chunk_size: int = 256 << 10,
    *,
    elements: int = 1,
    seed: int | None = None,
    progress: Progress | None = None,
    procs: int | None = None,
    options: PutOptions = NO_OPTIONS,
    dry_run: bool = False,
    on_action: Act | None = None,
    **more: Unpack[ObjectKeywords],
) -> TransferSummary:
    """Write generated objects, each with other bytes; :func:`put_bytes` writes data of your own.

    Args:
        prefix: the URI to write under; with ``{}`` in it and no ``template``, it names the objects itself.
        num: how many.
        template: their names: the first ``{}`` is the index, the second is ``num``. Default: ``object-{}``.
        max_in_flight: how many at a time.
        size: bytes of each, or of each of its ``elements``; default 20 MiB.
        should_create_bucket: create the bucket (container, directory) first.
        object_type: the format, in any case.
        dedup_factor: of the 1 MiB blocks of an object, one in so many is unique.
        compress_factor: zstd shrinks the data so many times.
        data_gen_algorithm: ``random``, or ``prand``, quicker and weaker.
        data_gen_mode: ``streaming`` generates ``chunk_size`` bytes at a time, ``single-pass`` whole objects.
        chunk_size: bytes.
        elements: how many records a TFRecord file has, how many rows an array.
        seed: the same bytes at every run.
        progress: an observer of the counts of objects and bytes (``transfer.progress.Progress``).
        procs: how many processes make and write them; None or 1: this one.
        options: content type, storage class and the like, for every object.
        dry_run: write nothing; ``on_action`` is called with what would be written, and the summary tells how much.
        **more: see :class:`s3dlio.verbs.keywords.ObjectKeywords`.

    Raises:
        ConfigError: an argument is unknown or out of range; nothing was written.
        BatchError: objects failed; all others were written.
    """
    from s3dlio.transfer.generate import put_generated
    from s3dlio.transfer.object_options import object_options

    summary = put_generated(
        session, prefix, num, template=template, size=DEFAULT_SIZE if size is None else size,
        max_in_flight=max_in_flight, create_bucket=should_create_bucket, object_type=object_type,
        elements=elements, dedup=dedup_factor, compress=compress_factor, algorithm=data_gen_algorithm,
        mode=data_gen_mode, chunk_size=chunk_size, seed=seed, progress=progress, procs=procs,
        options=object_options(options, **more), dry_run=dry_run, on_action=on_action,
    )  # fmt: skip
    summary.raise_for_failures("PUT")
    return summary
