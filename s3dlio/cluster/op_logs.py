"""The op-logs of all ranks become one, at rank 0."""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack

from s3dlio.engine.group import Group
from s3dlio.foreign_errors import from_os_error
from s3dlio.oplog.sorting import merge_op_logs

#: Bytes that each rank sends at a time.
_PIECE = 1 << 20


def part_name(path: str, group: Group) -> str:
    """The file that this rank records in, where the log is to be at ``path`` of rank 0."""
    return f"{path}.rank-{group.rank}" if group.size > 1 else path


def gather_op_logs(group: Group, path: str, *, has_rows: bool) -> None:
    """Make one log of those that the ranks have recorded, sorted by times; their own files go.

    Args:
        group: the ranks, all of which call this.
        path: of the log that is made, at rank 0.
        has_rows: this rank has recorded something.

    Raises:
        S3dlioError: a file cannot be read or written; those of ranks are left.
    """
    if group.size == 1:
        return
    mine = part_name(path, group)
    others: list[str] = []
    try:
        with ExitStack() as opened:
            log = opened.enter_context(open(mine, "rb")) if has_rows else None
            files = {}
            while _any(group, pieces := group.gather(b"" if log is None else log.read(_PIECE))):
                for rank, piece in enumerate(pieces):
                    if rank and piece:
                        if rank not in files:
                            others.append(_hidden(path, rank))
                            files[rank] = opened.enter_context(open(others[-1], "xb"))
                        files[rank].write(piece)
        group.first(lambda: _merge([mine] * has_rows + others, mine, path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(mine)
    except OSError as error:
        raise from_os_error(error, uri=path, operation="OPLOG") from error
    finally:
        for other in others:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(other)


def _any(group: Group, pieces: list[bytes]) -> bool:
    return group.share(any(pieces))


def _merge(parts: list[str], mine: str, path: str) -> None:
    if parts:
        merge_op_logs(parts, path)
    else:  # it has the names of columns, at least
        os.replace(mine, path)


def _hidden(path: str, rank: int) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.{os.getpid()}.rank-{rank}")
