"""Starts and ends the op-log of this process."""

from __future__ import annotations

import atexit
import logging
import os
from typing import Any

from s3dlio.errors import ConfigError, S3dlioError
from s3dlio.forking import ForkLock
from s3dlio.oplog.options import resolve
from s3dlio.oplog.recorder import Recorder
from s3dlio.stores.call import observe_everywhere, stop_observing_everywhere
from s3dlio.uri import has_scheme

log = logging.getLogger("s3dlio.oplog")

_lock = ForkLock()
_recorder: Recorder | None = None
#: The last one, also after its end.
_last: Recorder | None = None


def init_op_log(
    path: str | os.PathLike[str],
    *,
    buffer: int | str | None = None,
    write_buffer: int | str | None = None,
    level: int | None = None,
    lossless: bool | None = None,
    sort: bool | None = None,
    format: str | None = None,
) -> None:
    """Record every operation that ends from now on in this process, of any client, in a file.

    The file is compressed by zstd, whatever its name (docs/oplog.md); one that is there is replaced. It is whole after
    ``finalize_op_log``, which the interpreter's end calls, too. While a log is recorded, this does nothing.

    Args:
        path: the file, a path or ``file://``; its directory exists.
        buffer: records that wait for the thread that writes them (S3DLIO_OPLOG_BUF, 8192).
        write_buffer: bytes of one write to the file (S3DLIO_OPLOG_WBUFCAP, 256 KiB).
        level: of zstd (S3DLIO_OPLOG_LEVEL, 1).
        lossless: operations wait where the buffer is full (S3DLIO_OPLOG_LOSSLESS, yes); otherwise their records are
            dropped, and counted.
        sort: sort the file by start times in the end (S3DLIO_OPLOG_SORT, no).
        format: ``tsv``: a table with the 13 columns of the Rust package; ``warp``: the 15 of warp 1.6; ``jsonl``: JSON
            lines, with the attempts, status, server and range of each operation, too (S3DLIO_OPLOG_FORMAT, ``tsv``).

    Raises:
        ConfigError: an option cannot be used, or the path names no local file.
        S3dlioError: the file cannot be created.
    """
    global _recorder, _last
    target = _local_path(path)
    options = resolve(
        buffer=buffer, write_buffer=write_buffer, level=level, lossless=lossless, sort=sort, format=format
    )
    with _lock:
        if _recorder is not None:
            if target != _recorder.path:
                log.warning("operations are recorded in %s already, and not in %s", _recorder.path, target)
            return
        _last = _recorder = Recorder(target, options)
        observe_everywhere(_recorder)


def finalize_op_log() -> None:
    """End the op-log: its file is whole then. Another one may be started. Without one, this does nothing.

    Raises:
        S3dlioError: not all of it could be written; operations went on without.
    """
    global _recorder
    with _lock:
        recorder, _recorder = _recorder, None
        if recorder is not None:
            stop_observing_everywhere(recorder)
    if recorder is not None:
        recorder.close()


def is_op_log_active() -> bool:
    """Whether operations are recorded now."""
    return _recorder is not None


def op_log_stats() -> dict[str, Any] | None:
    """What has become of the records of this process's op-log, or of its last one; None before the first.

    Returns:
        ``path``; ``accepted`` and ``written`` records; ``dropped_full``: for want of room, where not ``lossless``;
        ``rejected_closed``: ended after the log; ``normalized_error_text``: with line ends that were escaped;
        ``writer_failed`` and ``writer_error``: why the file has no more. ``rejected_unformattable`` and
        ``rejected_unsafe_field`` are 0: every name can stand in a row.
    """
    return None if _last is None else _last.stats()


def _local_path(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError(f"an op-log is a local file, not {text!r}")
    if text.startswith("file://"):
        text = text[len("file://") :]
    if has_scheme(text):
        scheme = text.partition("://")[0]
        raise ConfigError(
            f"op-log path '{text}' uses unsupported scheme '{scheme}://'", hint="give a local path, and upload the file"
        )
    return os.path.abspath(text)


@atexit.register
def _finish() -> None:
    try:
        finalize_op_log()
    except S3dlioError as error:
        log.error("%s", error)
