"""How large the objects of a benchmark are: one size, a range of sizes, or a list of these with weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from s3dlio.config.sizes import format_size, parse_size
from s3dlio.errors import ConfigError
from s3dlio.records import Record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_HINT = "write 1MiB, 4KiB-1MiB, or several with their weights: 4KiB:70,1MiB:30"
_CHOICE = re.compile(r"(?P<low>[^-:]+)(-(?P<high>[^-:]+))?(:(?P<weight>\d{1,9}(\.\d{1,9})?))?", re.ASCII)


class Choice(NamedTuple):
    """Sizes from ``low`` to ``high`` bytes, with a weight among other choices."""

    low: int
    high: int
    weight: float


class Sizes(Record):
    """A distribution of sizes.

    Args:
        choices: what is drawn from, by weight.
        logarithmic: within a range all powers of two are as likely as others; otherwise all sizes are.
    """

    choices: tuple[Choice, ...]
    logarithmic: bool = False

    @classmethod
    def parse(cls, text: str, *, logarithmic: bool = False) -> Sizes:
        """The distribution that is written so: ``1MiB``, ``4KiB-1MiB``, ``4KiB:70,1MiB:30``.

        Raises:
            ConfigError: it is none.
        """
        choices = tuple(_choice(part.strip(), text) for part in text.split(","))
        if not any(choice.weight for choice in choices):
            raise ConfigError(f"no size in {text!r} has a weight", hint=_HINT)
        return cls(choices=choices, logarithmic=logarithmic)

    @property
    def largest(self) -> int:
        """Bytes of the largest object that there may be."""
        return max(choice.high for choice in self.choices)

    def draw(self, random: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        """So many sizes, in bytes."""
        import numpy as np

        weights = np.array([choice.weight for choice in self.choices], float)
        which = random.choice(len(weights), count, p=weights / weights.sum())
        low = np.array([choice.low for choice in self.choices], np.int64)[which]
        high = np.array([choice.high for choice in self.choices], np.int64)[which]
        place = random.random(count)
        if self.logarithmic:
            first = np.maximum(low, 1)
            sizes = (first * (np.maximum(high, 1) / first) ** place).astype(np.int64)
            return np.clip(sizes, low, high)
        return np.minimum(low + (place * (high - low + 1)).astype(np.int64), high)

    def __str__(self) -> str:
        alone = len(self.choices) == 1
        parts = []
        for low, high, weight in self.choices:
            span = format_size(low) if low == high else f"{format_size(low)}-{format_size(high)}"
            parts.append(span if alone else f"{span}:{weight:g}")
        return ",".join(parts)


def _choice(part: str, text: str) -> Choice:
    found = _CHOICE.fullmatch(part)
    if found is None:
        raise ConfigError(f"{text!r} tells no sizes of objects", hint=_HINT)
    low = parse_size(found["low"].strip(), name="size")
    high = low if found["high"] is None else parse_size(found["high"].strip(), name="size")
    if high < low:
        raise ConfigError(f"the range {part!r} ends before it begins", hint=_HINT)
    return Choice(low, high, 1.0 if found["weight"] is None else float(found["weight"]))
