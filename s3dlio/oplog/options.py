"""How the op-log is written: arguments, else the variables ``S3DLIO_OPLOG_*``, else defaults."""

from __future__ import annotations

from typing import Any, NamedTuple

from s3dlio.config.environment import variable_layers
from s3dlio.config.fields import OFF, ON
from s3dlio.config.sizes import parse_size
from s3dlio.errors import ConfigError

#: What an op-log can look like: the 13 columns of the Rust package, the 15 of warp 1.6, or JSON lines.
FORMATS = ("tsv", "warp", "jsonl")


class OpLogOptions(NamedTuple):
    """How the op-log is written.

    Attributes:
        buffer: records that wait for the writer thread, at most.
        write_buffer: compressed bytes that one write to the file has.
        level: of zstd, 1 to 22.
        lossless: a full buffer holds operations up until there is room; otherwise it costs their records.
        sort: sort the file by start times when the log is finalized.
        format: one of ``FORMATS``.
    """

    buffer: int = 8192
    write_buffer: int = 262144
    level: int = 1
    lossless: bool = True
    sort: bool = False
    format: str = "tsv"


_VARIABLES = {
    "buffer": "S3DLIO_OPLOG_BUF",
    "write_buffer": "S3DLIO_OPLOG_WBUFCAP",
    "level": "S3DLIO_OPLOG_LEVEL",
    "lossless": "S3DLIO_OPLOG_LOSSLESS",
    "sort": "S3DLIO_OPLOG_SORT",
    "format": "S3DLIO_OPLOG_FORMAT",
}
#: The smallest and the largest value.
_BOUNDS = {"buffer": (64, 1 << 24), "write_buffer": (1, 1 << 30), "level": (1, 22)}


def resolve(**given: int | str | bool | None) -> OpLogOptions:
    """The options: those that are given and not None, then the environment, then the ``.env`` file.

    Raises:
        ConfigError: a value of the wrong type or out of range; it says where that comes from.
    """
    values: dict[str, Any] = {}
    layers = [layer.variables for layer in variable_layers()]
    for name, variable in _VARIABLES.items():
        value: Any = given.get(name)
        shown = name
        if value is None:
            value = next((found for layer in layers if (found := layer.get(variable, "").strip())), None)
            shown = variable
        if value is not None:
            values[name] = _parsed(value, name, shown)
    return OpLogOptions(**values)


def _parsed(value: Any, name: str, shown: str) -> Any:
    if name == "format":
        return _format(value, shown)
    return _whole(value, name, shown) if name in _BOUNDS else _flag(value, shown)


def _format(value: Any, shown: str) -> str:
    if str(value).lower() not in FORMATS:
        raise ConfigError(f"{shown}={value!r} is no format of op-logs", hint=f"choose of {', '.join(FORMATS)}")
    return str(value).lower()


def _whole(value: Any, name: str, shown: str) -> int:
    least, most = _BOUNDS[name]
    return parse_size(value, name=shown, minimum=least, maximum=most)


def _flag(value: Any, shown: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in ON and text not in OFF:
        raise ConfigError(f"{shown}={value!r} is neither on nor off", hint="write 1 or 0")
    return text in ON
