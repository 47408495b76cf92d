"""Where a distributed checkpoint lies: a prefix, below which its files are named."""

from __future__ import annotations

import os

from s3dlio.errors import CorruptDataError, S3dlioError
from s3dlio.uri import as_uri, parse

SUFFIX = ".distcp"


def place_of(checkpoint_id: str | os.PathLike[str]) -> str:
    """The URI of a checkpoint, without a slash at its end.

    Args:
        checkpoint_id: a URI, or a local path.
    """
    if isinstance(checkpoint_id, str) and checkpoint_id and "://" not in checkpoint_id:
        checkpoint_id = "file://" + os.path.abspath(checkpoint_id)
    uri = as_uri(checkpoint_id)
    parse(uri)
    return uri.rstrip("/")


def is_place(checkpoint_id: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint can lie there."""
    try:
        place_of(checkpoint_id)
    except (S3dlioError, TypeError):
        return False
    return True


def check_name(name: object, uri: str) -> str:
    """The name of a file, as metadata have it.

    Raises:
        CorruptDataError: it leads out of the checkpoint.
    """
    if not isinstance(name, str) or not name or name.startswith("/") or ".." in name.split("/") or "\x00" in name:
        raise CorruptDataError(
            f"the metadata of the checkpoint name a file outside of it: {name!r}", uri=uri, operation="GET",
            hint="whoever wrote them is not to be trusted",
        )  # fmt: skip
    return name
