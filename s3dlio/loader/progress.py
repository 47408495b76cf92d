"""Passes over a data set that can stop anywhere and go on elsewhere, with other ranks and workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from s3dlio.errors import ConfigError
from s3dlio.loader.consumer import Consumer
from s3dlio.loader.order import SampleOrder
from s3dlio.loader.position import Position, Stream, positions, together
from s3dlio.loader.remaining import Remaining


class Pass:
    """One iteration: the samples of one consumer, and how many of them it has had.

    Args:
        stream, epoch: of which order.
        order: the samples to come.
    """

    def __init__(self, stream: Stream, epoch: int, order: SampleOrder) -> None:
        self.stream = stream
        self.epoch = epoch
        self.order = order
        self._passed = order.start
        self._late = set(order.late)
        self._finished = False

    def took(self, taken: Iterable[int]) -> None:
        """The consumer has got the samples at these positions of ``order``."""
        for position in taken:
            offset = self.order.offset(position)
            if offset >= self._passed:
                self._late.update(range(self._passed, offset))
                self._passed = offset + 1
            else:
                self._late.discard(offset)

    def finish(self) -> None:
        """The consumer knows that there are no more samples."""
        self._finished = True

    @property
    def is_finished(self) -> bool:
        """Whether :meth:`finish` was called."""
        return self._finished

    def position(self) -> Position:
        """How far the consumer got."""
        order = self.order
        return Position(
            self.stream, self.epoch, order.remaining, order.deal, order.stream, self._passed,
            tuple(sorted(self._late)),
        )  # fmt: skip


class Progress:
    """Which epoch comes, and where in it; ``state_dict`` and ``load_state_dict`` of whoever goes over samples.

    The order of an epoch depends on the seed and the epoch alone. A pass begins at the beginning of the epoch, or where
    the state that was loaded says; what was read ahead and not taken counts as not read.

    Args:
        samples: how many there are.
        seed, shuffle, drop_last: as of :class:`~s3dlio.loader.order.SampleOrder`.
        batch_size: as of that class, too.
        epoch: the first one.
        advances: a pass that came to its end is followed by the next epoch; otherwise, ``set_epoch`` alone changes it.
        keys: what tells these samples from others.
        replacement: each sample is drawn of all.
    """

    def __init__(
        self,
        samples: int,
        *,
        seed: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        batch_size: int = 1,
        epoch: int = 0,
        advances: bool = True,
        keys: str = "",
        replacement: bool = False,
    ) -> None:
        self.stream = Stream(samples, seed, shuffle, drop_last, keys)
        self.advances = advances
        self.replacement = replacement
        self._batch_size = batch_size
        self._epoch = epoch
        self._pass: Pass | None = None
        self._loaded: list[Position] = []
        self._is_chosen = False  # set_epoch was called since the last pass began

    @property
    def epoch(self) -> int:
        """The epoch of the pass that comes next."""
        if self._pass is not None and self._pass.is_finished:
            return self._pass.epoch + self.advances
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next. The one that a loaded state is in goes on where that says.

        Raises:
            ConfigError: it is not a whole number from 0 on.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise ConfigError(f"an epoch is a whole number from 0 on, not {epoch!r}")
        if epoch != self._epoch:
            self._loaded = []
        self._pass = None
        self._epoch = epoch
        self._is_chosen = True

    @property
    def resumes(self) -> bool:
        """Whether the next pass goes on where a state that was loaded says."""
        return bool(self._loaded)

    def restart(self) -> None:
        """Forget the state that was loaded: the next pass has the whole epoch."""
        self._loaded = []

    def begin(self, consumer: Consumer) -> Pass:
        """Start a pass, which a state that was loaded is for; from now on, the state is that of this pass.

        Raises:
            ConfigError: the state that was loaded lacks some consumers, or does not fit here.
        """
        self._epoch = self.epoch
        self._pass = Pass(self.stream, self._epoch, self.order(consumer))
        self._loaded = []
        self._is_chosen = False
        return self._pass

    def order(self, consumer: Consumer) -> SampleOrder:
        """The samples of a pass that would start now."""
        start = self._start(consumer)
        return SampleOrder(
            self.stream.samples, seed=self.stream.seed, shuffle=self.stream.shuffle, epoch=start.epoch,
            rank=consumer.rank, world_size=consumer.world_size, worker=consumer.worker,
            num_workers=consumer.num_workers, drop_last=self.stream.drop_last, batch_size=self._batch_size,
            remaining=start.remaining, start=start.consumed, late=start.late, replacement=self.replacement,
        )  # fmt: skip

    def _start(self, consumer: Consumer) -> Position:
        """Where a pass of this consumer starts."""
        deal = consumer.deal(self._batch_size)
        if len(self._loaded) == 1 and (self._loaded[0].stream, self._loaded[0].deal) == (consumer.stream, deal):
            return self._loaded[0]
        remaining = together(self._loaded)[1] if self._loaded else Remaining(self.stream.samples)
        return Position(self.stream, self.epoch, remaining, deal, consumer.stream, 0)

    def state_dict(self, consumer: Consumer) -> dict[str, Any]:
        """How far this consumer got: less than 1 KiB, and JSON can have it. Take those of all ranks where they may
        differ in how far they got; that of one rank means that the others got as far."""
        current = self._pass
        if current is None or (current.is_finished and self.advances):
            return self._start(consumer).to_dict()
        return current.position().to_dict()

    def rewound(self, consumer: Consumer, consumed: int) -> dict[str, Any]:
        """The state after the first ``consumed`` samples of the last pass, however many were taken.

        Raises:
            ConfigError: it has not had so many.
        """
        current = self._pass
        position = current.position() if current is not None else self._start(consumer)
        start = current.order.start if current is not None else position.consumed
        if not 0 <= consumed <= position.consumed - start:
            raise ConfigError(
                f"{consumed} samples cannot have been consumed: {position.consumed - start} were asked for"
            )
        return position._replace(consumed=start + consumed).to_dict()

    def load_state_dict(self, state: Any) -> None:
        """Go on where a state says: what :meth:`state_dict` returned, a list of those of all ranks, or states of
        torchdata's ``StatefulDataLoader``, of any number of ranks and workers.

        Raises:
            ConfigError: it is none, some are missing, or it is of other samples or another order.
        """
        found = positions(state)
        for each in found:
            if each.order._replace(keys="") != self.stream._replace(keys="") or (
                each.order.keys and self.stream.keys and each.order.keys != self.stream.keys
            ):
                raise ConfigError(
                    f"this state is of another order: {_told(each.order)}, and here {_told(self.stream)}",
                    hint="load it with the data set and the options (shuffle, seed, drop_last) that it was taken with",
                )
        if len(found) > 1:
            together(found)  # complain now
        self._pass = None
        epoch = min(each.epoch for each in found)
        if self._is_chosen and self._epoch != epoch and all(each.is_over for each in found):
            self._loaded = []  # torchdata loads a state late, when the program has chosen the next epoch
        elif all(each.finished for each in found):
            self._loaded = []
            self._epoch = epoch + self.advances
        else:
            self._loaded = found
            self._epoch = epoch


def _told(stream: Stream) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in zip(stream._fields, stream, strict=True) if value != "")
