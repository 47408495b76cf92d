"""What observers learn from the answers to requests. Only where there are any: it costs 2 us a request."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from s3dlio.net.message import Request
from s3dlio.net.response import Response
from s3dlio.types import Observation

T = TypeVar("T")


def observed(steps: Generator[Any, Any, T], seen: Observation) -> Generator[Any, Any, T]:
    """The same steps; where their requests went and what was answered is noted in ``seen``."""
    try:
        wanted = next(steps)
        while True:
            try:
                answer = yield wanted
            except BaseException as error:
                _note_place(seen, wanted)
                wanted = steps.throw(error)
            else:
                for one in answer if type(answer) is list else [answer]:
                    if type(one) is Response:
                        note(seen, wanted, one)
                wanted = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


def note(seen: Observation, request: Any, answer: Response) -> None:
    """Note the answer to a request, or to one of several."""
    _note_place(seen, request)
    seen.status = answer.status
    seen.attempts = max(seen.attempts, answer.attempts)


def _note_place(seen: Observation, request: Any) -> None:
    if type(request) is Request:
        pool = request.service.pool
        host = f"[{pool.host}]" if ":" in pool.host else pool.host
        seen.endpoint = f"{host}:{pool.port}"
