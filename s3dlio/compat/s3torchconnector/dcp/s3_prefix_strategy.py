"""How the names of a checkpoint's objects begin, rank by rank: services spread the load by the first characters."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.distributed


class S3PrefixStrategyBase(ABC):
    """Gives the beginning of a rank's object names."""

    def __call__(self, rank: int) -> str:
        return self.generate_prefix(rank)

    @abstractmethod
    def generate_prefix(self, rank: int) -> str:
        """The beginning of the names of this rank."""


class DefaultPrefixStrategy(S3PrefixStrategyBase):
    """``__RANK_``."""

    def generate_prefix(self, rank: int) -> str:
        return f"__{rank}_"


class RoundRobinPrefixStrategy(S3PrefixStrategyBase):
    """``PREFIX/epoch_N/__RANK_``, the prefixes in turn.

    Args:
        user_prefixes: the prefixes.
        epoch_num: the epoch; None: it is left out.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, user_prefixes: list[str], epoch_num: int | None = None) -> None:
        if not user_prefixes:
            raise ValueError("user_prefixes must not be empty")
        self.user_prefixes = user_prefixes
        self.epoch_num = epoch_num

    def generate_prefix(self, rank: int) -> str:
        return f"{self.user_prefixes[rank % len(self.user_prefixes)]}/{_epoch(self.epoch_num)}__{rank}_"


class NumericPrefixStrategy(S3PrefixStrategyBase):
    """``DIGITS/epoch_N/__RANK_``, where the digits are a number backwards: neighbours differ in the first one.

    Args:
        base: of the digits.
        epoch_num: the epoch; None: it is left out.
        min_prefix_length: digits, at least.
        prefix_count: how many numbers there are; None: as many as ranks.

    Raises:
        ValueError: a number that cannot be.
    """

    def __init__(
        self, base: int, epoch_num: int | None = None, min_prefix_length: int = 10, prefix_count: int | None = None
    ) -> None:
        if min_prefix_length < 1:
            raise ValueError(f"Minimum prefix length must be positive, got {min_prefix_length}")
        if epoch_num is not None and not isinstance(epoch_num, int):
            raise ValueError(f"Epoch number must be None or an integer, got {epoch_num}")
        if prefix_count is not None and (not isinstance(prefix_count, int) or prefix_count < 1):
            raise ValueError(f"Prefix count must be a positive integer, got {prefix_count}")
        self.base = base
        self.epoch_num = epoch_num
        self.min_prefix_len = min_prefix_length
        self.prefix_count = prefix_count or _world_size()
        length = 1
        while base**length < self.prefix_count:
            length += 1
        length = max(length, min_prefix_length)
        self.prefix_map = [self._format_number(number, length)[::-1] for number in range(self.prefix_count)]

    def generate_prefix(self, rank: int) -> str:
        return f"{self.prefix_map[rank % len(self.prefix_map)]}/{_epoch(self.epoch_num)}__{rank}_"

    @abstractmethod
    def _format_number(self, number: int, length: int) -> str:
        """``number`` in the base, with zeros in front to ``length`` digits."""


class BinaryPrefixStrategy(NumericPrefixStrategy):
    """Digits 0 and 1; see :class:`NumericPrefixStrategy`."""

    def __init__(
        self, epoch_num: int | None = None, min_prefix_length: int = 10, prefix_count: int | None = None
    ) -> None:
        super().__init__(2, epoch_num, min_prefix_length, prefix_count)

    def _format_number(self, number: int, length: int) -> str:
        return format(number, f"0{length}b")


class HexPrefixStrategy(NumericPrefixStrategy):
    """Hexadecimal digits; see :class:`NumericPrefixStrategy`."""

    def __init__(
        self, epoch_num: int | None = None, min_prefix_length: int = 10, prefix_count: int | None = None
    ) -> None:
        super().__init__(16, epoch_num, min_prefix_length, prefix_count)

    def _format_number(self, number: int, length: int) -> str:
        return format(number, f"0{length}x")


def _epoch(number: int | None) -> str:
    return "" if number is None else f"epoch_{number}/"


def _world_size() -> int:
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1
