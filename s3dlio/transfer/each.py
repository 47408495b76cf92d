"""One operation on many objects that has no batch of its own: all in flight at a time, each failure kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from s3dlio.engine.admission import Admission, check_width
from s3dlio.engine.batch import run_calls
from s3dlio.engine.cancel import CancelToken, surrounding_token
from s3dlio.errors import TransferCancelledError
from s3dlio.stores.call import Call
from s3dlio.transfer.summary import Tally, TransferSummary
from s3dlio.transfer.transfer_token import LinkedToken

if TYPE_CHECKING:
    from s3dlio.engine.session import Session


def run_each(
    session: Session,
    calls: Iterable[Call[Any]],
    operation: str,
    *,
    max_in_flight: int = 32,
    cancel: CancelToken | None = None,
) -> TransferSummary:
    """Run all calls; one that fails does not stop the others.

    Args:
        session: whose threads help.
        calls: what is to be done; read while others are in flight.
        operation: what it is called in errors.
        max_in_flight: how many at a time.
        cancel: stops it from another thread.

    Raises:
        BatchError: calls failed; it has every one of them.
        TransferCancelledError: it was stopped.
    """
    token = LinkedToken(cancel or surrounding_token())
    tally = Tally()
    in_flight: dict[int, str] = {}

    def counted() -> Iterator[Call[Any]]:
        for call in calls:
            in_flight[tally.start()] = call.uri
            yield call

    def done(index: int, result: Any, error: BaseException | None) -> None:
        uri = in_flight.pop(index)
        if error is None:
            tally.succeed(0)
        elif isinstance(error, TransferCancelledError) and token.cancelled:
            tally.give_up()
        else:
            tally.fail(index, uri, error)

    admission = Admission.of(session.settings.transfer, check_width(max_in_flight))
    run_calls(counted(), admission=admission, on_done=done, cancel=token, executor=session.executor)
    if token.by_caller:
        raise TransferCancelledError(f"cancelled with {tally.succeeded} objects done", operation=operation)
    summary = tally.summary()
    summary.raise_for_failures(operation)
    return summary
