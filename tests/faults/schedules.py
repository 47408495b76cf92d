"""Every order in which threads take turns: work is run again and again, each time with other turns.

A thread goes on until it calls :meth:`Turns.pause`; then a turn is chosen. All choices are tried that take the turn
away from a thread that could go on at most a few times in a run: two or three make almost every fault of this kind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence


class Turns:
    """One run: some threads, of which one at a time goes on.

    Args:
        choices: which of the threads that may go on does so, at each pause from the first on; then always the first.
        preemptions: how often a thread that could go on may have to wait.
    """

    def __init__(self, choices: Sequence[int], preemptions: int) -> None:
        self._planned = list(choices)
        self._preemptions = preemptions
        self.choices: list[int] = []
        self.widths: list[int] = []  # how many could have been chosen, each time
        self._turn = threading.Condition()
        self._names: dict[int, int] = {}
        self._going: int | None = None
        self._alive: list[int] = []

    def run(self, works: Sequence[Callable[[], None]]) -> None:
        """Run all to their ends.

        Raises:
            BaseException: what one of them raised.
        """
        errors: list[BaseException] = []
        self._alive = list(range(len(works)))
        threads = [
            threading.Thread(target=self._live, args=(number, work, errors)) for number, work in enumerate(works)
        ]
        with self._turn:
            self._choose(None)
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _live(self, number: int, work: Callable[[], None], errors: list[BaseException]) -> None:
        self._names[threading.get_ident()] = number
        self._wait(number)
        try:
            work()
        except BaseException as error:
            errors.append(error)
        with self._turn:
            self._alive.remove(number)
            self._choose(None)

    def pause(self) -> None:
        """Let another thread go on, or not; called by the threads themselves, and by others without effect."""
        number = self._names.get(threading.get_ident())
        if number is None:
            return
        with self._turn:
            self._choose(number)
        self._wait(number)

    def _wait(self, number: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._going == number)

    def _choose(self, current: int | None) -> None:
        if current is not None:
            others = [number for number in self._alive if number != current] if self._preemptions else []
            able = [current, *others]
        else:
            able = list(self._alive)
        if able:
            at = len(self.choices)
            choice = self._planned[at] if at < len(self._planned) else 0
            self.choices.append(choice)
            self.widths.append(len(able))
            self._going = able[choice]
            if current is not None and choice:
                self._preemptions -= 1
        self._turn.notify_all()


def explore(preemptions: int) -> Iterator[Turns]:
    """The runs, one after another: the caller runs each before it asks for the next."""
    planned: list[int] = []
    while True:
        turns = Turns(planned, preemptions)
        yield turns
        planned = turns.choices
        while planned and planned[-1] + 1 >= turns.widths[len(planned) - 1]:
            planned.pop()
        if not planned:
            return
        planned[-1] += 1
