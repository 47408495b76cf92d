"""Where the objects of checkpoints lie below their base, and what their names say.

```
latest.json                                                      the pointer: the checkpoint that is loaded
manifests/ckpt-<step>-<YYYYMMDD-HHMMSS>.json                     one for each checkpoint
shards/ckpt-<step>-<time>/rank-<rank>.bin                        flat; .zst is appended to compressed ones
shards/rr/<rank % 16, two hex digits>/ckpt-<step>-<time>/...     round_robin
shards/bin/<first four bits of the rank's eight>/ckpt-...        binary
```

Names and contents are those of the Rust package of this name, so that each reads what the other wrote.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from s3dlio.errors import ConfigError, UnsafeKeyError

POINTER = "latest.json"
MANIFESTS = "manifests/"
SHARDS = "shards/"
COMPRESSED = ".zst"

#: How shards are spread over prefixes: a store may limit the rate of requests for each prefix.
STRATEGIES = ("flat", "round_robin", "binary")
_SPREAD = 16  # prefixes of round_robin
_ALIASES = {"roundrobin": "round_robin", "round-robin": "round_robin"}
#: What no named checkpoint may be called: the base has objects below these names.
RESERVED = frozenset({"latest", POINTER, "manifests", "shards"})

_NUMBER = "([0-9]{1,20})"  # of 64 bits, as all numbers of the Rust package
_NAME = re.compile(rf"ckpt-{_NUMBER}-([0-9A-Za-z][0-9A-Za-z_.-]*)")
_TIME = "%Y%m%d-%H%M%S"


class Name(NamedTuple):
    """What a checkpoint is known by: its step, and the second (UTC) in which its save began. Later ones are greater."""

    step: int
    timestamp: str

    def __str__(self) -> str:
        return f"ckpt-{self.step}-{self.timestamp}"

    @property
    def manifest_key(self) -> str:
        return f"{MANIFESTS}{self}.json"

    def next_second(self) -> Name:
        """The name after this one, where this one is taken."""
        then = time.strptime(self.timestamp, _TIME)
        import calendar

        return Name(self.step, timestamp_of(calendar.timegm(then) + 1))


def timestamp_of(seconds: float) -> str:
    """Seconds since 1970 as the names have them: ``20261120-235331``, in UTC."""
    return time.strftime(_TIME, time.gmtime(seconds))


def check_timestamp(text: str) -> str:
    """A timestamp that names can be made of.

    Raises:
        ConfigError: it is not of the form ``20261120-235331``.
    """
    try:
        time.strptime(text, _TIME)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{text!r} is no time of a checkpoint", hint="write YYYYMMDD-HHMMSS, in UTC") from error
    return text


def named_by(key: str) -> Name | None:
    """The checkpoint that a manifest (or a folder of shards) is named by; None where the name says nothing."""
    found = _NAME.fullmatch(key.rpartition("/")[2].removesuffix(".json"))
    return Name(int(found[1]), found[2]) if found else None


def strategy_named(name: str | None) -> str:
    """A strategy by its name, in any case; without one, ``flat``.

    Raises:
        ConfigError: there is none of that name.
    """
    if name is None:
        return STRATEGIES[0]
    wanted = name.lower() if isinstance(name, str) else ""
    wanted = _ALIASES.get(wanted, wanted)
    if wanted not in STRATEGIES:
        raise ConfigError(f"Unknown strategy: {name!r}. Valid options: {', '.join(STRATEGIES)}")
    return wanted


def shard_key(strategy: str, name: Name, rank: int, *, compressed: bool = False) -> str:
    """The key of a rank's shard, relative to the base."""
    return f"{shard_folder(strategy, rank)}{name}/rank-{rank}.bin{COMPRESSED if compressed else ''}"


def shard_folder(strategy: str, rank: int) -> str:
    """What the keys of a rank's shards begin with, before the name of the checkpoint."""
    if strategy == "round_robin":
        return f"{SHARDS}rr/{rank % _SPREAD:02x}/"
    if strategy == "binary":
        return f"{SHARDS}bin/{f'{rank:08b}'[:4]}/"
    return SHARDS


def rank_named(key: str) -> int | None:
    """The rank whose shard a key names; None where it names none."""
    found = re.fullmatch(rf"rank-{_NUMBER}\.bin(\.zst)?", key.rpartition("/")[2])
    return int(found[1]) if found else None


def check_inside(key: str, folder: str, uri: str) -> None:
    """Refuse a key, read from an object, that leads out of the folder where its like lies.

    Raises:
        UnsafeKeyError: it does.
    """
    segments = key.split("/")
    if not key.startswith(folder) or any(part in ("", ".", "..") for part in segments) or not key.isprintable():
        raise UnsafeKeyError(f"it names {key!r}, which is not inside {folder} of its base", uri=uri)
