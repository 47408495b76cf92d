"""Who writes the op-log: the name of this client, and how far its clock is ahead, for logs that are merged later."""

from __future__ import annotations

from s3dlio.errors import ConfigError


class Identity:
    """What the rows of this process have in common until it is changed; a forked child begins with its parent's.

    Attributes:
        current: the client id, which is in each row, and the nanoseconds that are taken off every time.
    """

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current = "", 0


identity = Identity()


def set_client_id(client_id: str) -> None:
    """Name this client: its name stands in every row of the op-log from now on.

    Raises:
        ConfigError: it is no str.
    """
    if not isinstance(client_id, str):
        raise ConfigError(f"a client id is a str, not a {type(client_id).__name__}")
    identity.current = client_id, identity.current[1]


def get_client_id() -> str:
    """The name of this client; empty where none was set."""
    return identity.current[0]


def set_clock_offset(offset_ns: int) -> None:
    """Say how far this machine's clock is ahead of the one that all logs are to be read by.

    Args:
        offset_ns: local time less that of the other clock (nanoseconds); it is taken off the times of all rows from
            now on, and 0 takes it back.

    Raises:
        ConfigError: it is no int.
    """
    if not isinstance(offset_ns, int) or isinstance(offset_ns, bool):
        raise ConfigError(f"a clock offset is a whole number of nanoseconds, not a {type(offset_ns).__name__}")
    identity.current = identity.current[0], offset_ns


def get_clock_offset() -> int:
    """What is taken off the times of all rows (nanoseconds)."""
    return identity.current[1]
