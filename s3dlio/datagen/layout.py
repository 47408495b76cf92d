"""Where the random bytes, the repeated blocks and the zeros of a generated object lie.

An object is cut into blocks, of 1 MiB by default (the last may be short; a smaller object is one block).

- `dedup=N`: of B blocks only ceil(B / N) are different; block b repeats block b mod that number.
- `compress=N`: a block of L bytes starts with ceil(L / N) random bytes, zeros follow; zstd shrinks it N times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from s3dlio.datagen.checks import factor, whole_number

BLOCK = 1 << 20
MAX_SIZE = 1 << 48
"""The largest object, 256 TiB: up to there no stream repeats itself."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The plan of one object.

    Attributes:
        size: bytes of the object, 0 to 2**48.
        dedup: how many times each block occurs; 0 counts as 1.
        compress: how many times the object can be shrunk; 0 counts as 1.
        block: bytes of a block, 512 or more.

    Raises:
        ConfigError: a value is negative or too large.
        TypeError: a value is not an integer.
    """

    size: int
    dedup: int = 1
    compress: int = 1
    block: int = BLOCK

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_number("size", self.size, 0, MAX_SIZE))
        object.__setattr__(self, "dedup", factor("dedup", self.dedup))
        object.__setattr__(self, "compress", factor("compress", self.compress))
        object.__setattr__(self, "block", whole_number("block_size", self.block, 512, MAX_SIZE))

    @property
    def unique_blocks(self) -> int:
        """How many different blocks there are."""
        blocks = -(-self.size // self.block)
        return -(-blocks // self.dedup)

    def runs(self, offset: int, length: int) -> Iterator[tuple[int, int | None]]:
        """Cut bytes `[offset, offset + length)` into runs.

        Yields (bytes of the run, where in the random stream it starts, or None for zeros), in order.
        """
        if self.dedup == 1 and self.compress == 1:
            if length:
                yield length, offset
            return
        end, unique, whole = offset + length, self.unique_blocks, self.block
        while offset < end:
            block, within = divmod(offset, whole)
            block_size = min(whole, self.size - block * whole)
            random_bytes = -(-block_size // self.compress)
            if within < random_bytes:
                run = min(random_bytes - within, end - offset)
                yield run, block % unique * whole + within
            else:
                run = min(block_size - within, end - offset)
                yield run, None
            offset += run
