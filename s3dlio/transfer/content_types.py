"""The content type of a file by the end of its name."""

from __future__ import annotations

import functools

from s3dlio.records import replace
from s3dlio.types import PutOptions

#: What a compressed file is: the type of what is in it would be another one.
_COMPRESSED = {
    "gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz",
    "compress": "application/x-compress", "br": "application/x-brotli",
}  # fmt: skip
#: What ``mimetypes`` does not know, and is stored by those who train.
_OURS = {
    ".parquet": "application/vnd.apache.parquet", ".arrow": "application/vnd.apache.arrow.file",
    ".zst": "application/zstd", ".jsonl": "application/jsonl", ".yaml": "application/yaml", ".yml": "application/yaml",
    ".md": "text/markdown",
}  # fmt: skip


def content_type_of(name: str) -> str | None:
    """The content type that the end of a name tells, as ``mimetypes`` and the system's own table have it; None where
    they do not know it. Compressed files are compressed files."""
    dot = name.rfind(".")
    return None if dot < 0 or name.find("/", dot) >= 0 else _of_suffix(name[dot:])


@functools.lru_cache(maxsize=1024)
def _of_suffix(suffix: str) -> str | None:
    import mimetypes  # 5 ms that those who upload no files do without

    found, encoding = mimetypes.guess_type("name" + suffix)
    if encoding is not None:
        return _COMPRESSED.get(encoding)
    return _OURS.get(suffix.lower(), found)


class TypedOptions:
    """The options of writes with the content type of each name; those of one type are made once.

    Args:
        options: all else.
    """

    def __init__(self, options: PutOptions) -> None:
        self._options = options
        self._made: dict[str, PutOptions] = {}

    def of(self, name: str) -> PutOptions:
        """The options for a file ``name``."""
        kind = content_type_of(name)
        if kind is None:
            return self._options
        made = self._made.get(kind)
        if made is None:
            made = self._made[kind] = replace(self._options, content_type=kind)
        return made
