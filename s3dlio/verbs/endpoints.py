"""What the endpoints of one S3 store have done for a client."""

from __future__ import annotations

from typing import Any

from s3dlio.engine.session import Session
from s3dlio.net.endpoints import EndpointChoice, totals


def get_endpoint_stats(session: Session) -> list[dict[str, Any]]:
    """What each of the endpoints (``s3.endpoints``) has done in this process, for all clients with the same settings.

    Every attempt counts where it went. A client with one endpoint counts nothing.

    Returns:
        a dictionary for each endpoint, in their order: ``uri``, ``total_requests`` (``requests``), ``bytes_read``,
        ``bytes_written``, ``bytes_transferred``, ``error_count``, ``active_requests``, ``healthy``.
    """
    choice = _choice(session)
    return [] if choice is None else choice.statistics()


def get_total_stats(session: Session) -> dict[str, int]:
    """The sums of :func:`get_endpoint_stats`."""
    choice = _choice(session)
    return totals([]) if choice is None else choice.total()


def _choice(session: Session) -> EndpointChoice | None:
    if len(session.settings.s3.endpoints) < 2:
        return None
    from s3dlio.stores.s3.account import account_for

    return account_for(session.settings).choice
