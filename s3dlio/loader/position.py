"""How far consumers of an epoch got: what ``state_dict`` gives, and what the states of several mean together."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from s3dlio.errors import ConfigError
from s3dlio.loader.remaining import Deal, Level, Remaining

#: The field by which a state is known among those of other things.
_MARK = "s3dlio_position"
_VERSION = 1


class Stream(NamedTuple):
    """The order that a consumer reads: of which samples, and which part is its own."""

    samples: int
    seed: int
    shuffle: bool
    drop_last: bool
    #: What tells the keys of one data set from those of another; empty where nobody knows.
    keys: str


class Position(NamedTuple):
    """How far one consumer got in an epoch.

    ``remaining``: what was left when this part of the epoch began. ``deal`` and ``stream``: how it was dealt out, and
    which part this consumer has. ``consumed``: how many samples it has passed, those that are ``late`` included.
    ``finished``: the program knows that there are no more; states of torchdata's loader tell that.
    """

    order: Stream
    epoch: int
    remaining: Remaining
    deal: Deal
    stream: tuple[int, int]
    consumed: int
    late: tuple[int, ...] = ()
    finished: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What ``state_dict`` returns: JSON can have it, and so can anything that pickles."""
        return {
            _MARK: _VERSION,
            **self.order._asdict(),
            "epoch": self.epoch,
            "read": [
                [each.start, *each.deal, _packed(each.counts), _packed_set(each.late)] for each in self.remaining.levels
            ],
            "deal": list(self.deal),
            "rank": self.stream[0],
            "worker": self.stream[1],
            "consumed": self.consumed,
            "late": _packed_set(self.late),
        }

    @property
    def is_over(self) -> bool:
        """Whether nothing of the epoch is left for this consumer."""
        share = self.deal.share(self.stream, self.remaining.left, self.order.drop_last)
        return self.finished or (self.consumed >= share and not self.late)


def positions(state: Any) -> list[Position]:
    """All positions within a state: one, those of several ranks, or those that torchdata's ``StatefulDataLoader``
    collected of its workers.

    Raises:
        ConfigError: there is none, or it cannot be understood.
    """
    found = list(_found(state))
    if not found:
        raise ConfigError(
            "this state has no position of a loader",
            hint="give what state_dict() returned, or a list of those of all ranks",
        )  # fmt: skip
    return found


def _found(state: Any) -> Iterator[Position]:
    if isinstance(state, Mapping):
        if _MARK in state:
            yield _position(state)
            return
        if state.get("_steps_since_snapshot"):
            raise ConfigError(
                "this state of a StatefulDataLoader was not taken with its last batch",
                hint="use snapshot_every_n_steps=1, or load it into a StatefulDataLoader of as many workers",
            )
        finished = state.get("_iterator_finished") is True
        for each in state.values():
            for position in _found(each):
                yield position._replace(finished=True) if finished else position
    elif isinstance(state, (list, tuple)):
        for each in state:
            yield from _found(each)


def _position(state: Mapping[str, Any]) -> Position:
    if state[_MARK] != _VERSION:
        raise ConfigError(f"a position of version {state[_MARK]!r} is not known here", hint="update s3dlio")
    try:
        order = Stream(*(state[name] for name in Stream._fields))
        ranks, workers, batch = state["deal"]
        deal = Deal(ranks, workers, batch)
        levels = [
            Level(start, Deal(ranks, workers, batch), _unpacked(counts), _unpacked_set(late))
            for start, ranks, workers, batch, counts, late in state["read"]
        ]
        position = Position(
            order, state["epoch"], Remaining(order.samples, levels), deal,
            (state["rank"], state["worker"]), state["consumed"], _unpacked_set(state["late"]),
        )  # fmt: skip
        sound = (
            position.stream in position.deal.streams
            and min(position.consumed, position.remaining.left, order.samples, position.epoch) >= 0
            and all(len(level.counts) in (0, level.deal.ranks * level.deal.workers) for level in levels)
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"this position of a loader is damaged: {error!r}") from error
    if not sound:
        raise ConfigError("this position of a loader is damaged")
    return position


def together(found: Sequence[Position]) -> tuple[int, Remaining]:
    """The epoch, and what all consumers together left of it.

    The position of one rank alone means that the others got as far.

    Raises:
        ConfigError: they do not belong together, or some are missing.
    """
    first = min(found, key=lambda each: each.epoch)
    for each in found:
        if each.order != first.order:
            raise ConfigError(f"these positions are of different orders: {_difference(first.order, each.order)}")
    by_stream: dict[tuple[int, int], Position] = {}
    for each in found:
        if each.epoch == first.epoch and (each.deal, each.remaining) != (first.deal, first.remaining):
            raise ConfigError(
                "these positions are of different runs: of other numbers of ranks or workers, or with other beginnings"
            )
        if by_stream.setdefault(each.stream, each) != each:
            raise ConfigError(f"rank {each.stream[0]} has two positions that differ")
    counts, late = [], []
    for stream in first.deal.streams:
        count, offsets = _consumed(first, stream, by_stream)
        counts.append(count)
        late += [int(first.deal.place(stream, offset)) for offset in offsets]
    return first.epoch, first.remaining.after(first.deal, counts, late)


def _consumed(
    first: Position, stream: tuple[int, int], given: Mapping[tuple[int, int], Position]
) -> tuple[int, tuple[int, ...]]:
    """How far a consumer got, and which samples before that it has not had."""
    deal = first.deal
    limit = deal.share(stream, first.remaining.left, False)
    position = given.get(stream)
    if position is None:
        ranks = {rank for rank, _ in given}
        rank, worker = stream
        if len(ranks) > 1 or rank in ranks or (min(ranks), worker) not in given:
            missing = sorted(f"{rank}.{worker}" for rank, worker in set(deal.streams) - given.keys())
            raise ConfigError(
                f"of {deal.ranks} ranks with {deal.workers} workers, positions are missing: {', '.join(missing[:8])}",
                hint="give those of all ranks, or that of one, whose others got as far",
            )
        position = given[(min(ranks), worker)]
    if position.epoch > first.epoch:  # it has gone on to the next one
        if position.epoch > first.epoch + 1 or position.consumed:
            raise ConfigError(f"these positions are of different epochs: {first.epoch} and {position.epoch}")
        return limit, ()
    consumed = min(position.consumed, limit)
    return consumed, tuple(offset for offset in position.late if offset < consumed)


def _difference(one: Stream, other: Stream) -> str:
    return ", ".join(f"{name} {a!r} and {b!r}" for name, a, b in zip(Stream._fields, one, other, strict=True) if a != b)


def _packed(values: Iterable[int]) -> str:
    """Integers as text: seven bits a byte, the least first, as base64."""
    data = bytearray()
    for value in values:
        while value > 127:
            data.append(value & 127 | 128)
            value >>= 7
        data.append(value)
    return base64.b64encode(data).decode()


def _unpacked(text: str) -> tuple[int, ...]:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    if shift:
        raise ValueError("integers end in the middle of one")
    return tuple(values)


def _packed_set(values: Sequence[int]) -> str:
    """Ascending integers as text: their differences, or one bit for each that there may be, whichever is shorter."""
    if not values:
        return ""
    differences = _packed(after - before for before, after in zip((0, *values), values, strict=False))
    bits = sum(1 << (value - values[0]) for value in values) if values[-1] - values[0] < 8 << 10 else 0
    bitmap = _packed([values[0], bits])
    return "." + bitmap if bits and len(bitmap) < len(differences) else differences


def _unpacked_set(text: str) -> tuple[int, ...]:
    if not text.startswith("."):
        return tuple(accumulate(_unpacked(text)))
    first, bits = _unpacked(text[1:])
    return tuple(first + place for place in range(bits.bit_length()) if bits >> place & 1)
