"""What can go wrong on a connection, as one internal exception, and the public error that it becomes."""

from __future__ import annotations

import errno
import sys

from s3dlio.errors import NetworkError, S3dlioError, TransferTimeoutError
from s3dlio.foreign_errors import OUT_OF_FILES_HINT
from s3dlio.net.response import Response
from s3dlio.wording import either


class ConnectionDropped(NetworkError):
    """A connection that could not be opened, or ended or timed out before the answer was complete. Drivers catch it,
    ask the retry policy, and raise :func:`final_error` when no attempt is left.

    Args:
        reason: as of S3dlioError.
        response: the head of the answer, if it had arrived.
        received: bytes of the body that had arrived in the sink.
        untouched: not one byte of an answer had arrived.
        never_sent: the connection could not be opened, so the server has not seen the request.
        timed_out: nothing came within the time-out.
    """

    def __init__(
        self,
        reason: str,
        *,
        hint: str | None = None,
        response: Response | None = None,
        received: int = 0,
        untouched: bool = False,
        never_sent: bool = False,
        timed_out: bool = False,
    ) -> None:
        super().__init__(reason, hint=hint)
        self.response = response
        self.received = received
        self.untouched = untouched
        self.never_sent = never_sent
        self.timed_out = timed_out
        #: The server has other addresses than the one that gave no connection.
        self.elsewhere = False
        #: There was no descriptor for the connection.
        self.crowded = False


#: What a socket raises that has nothing, or takes nothing, now; and which of these means that it waits to receive,
#: while it sends. ``tls`` adds its own when it is imported: connections without TLS start 10 ms sooner.
would_block: tuple[type[OSError], ...] = (BlockingIOError,)
wants_read: tuple[type[OSError], ...] = ()

#: OpenSSL's names, by release, for an answer that is not a TLS record.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


def opening_fault(error: OSError, server: str) -> S3dlioError:
    """The fault for a connection that could not be opened: retried, unless trying again cannot help."""
    if "ssl" in sys.modules:  # without it no error is one of TLS; and it is not loaded here: no file may be left for it
        import ssl

        if isinstance(error, ssl.SSLCertVerificationError):
            return NetworkError(
                f"the certificate of {server} is not trusted: {error.verify_message}",
                hint=f"for a private CA set AWS_CA_BUNDLE (or {either('ca_bundle=', '--ca-bundle')}) to its PEM file",
            )
        if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
            return NetworkError(
                f"{server} does not answer in TLS", hint="if it speaks plain HTTP, write http:// in the endpoint's URL"
            )
    timed_out = isinstance(error, TimeoutError)
    if isinstance(error, S3dlioError) and not timed_out:
        return error
    reason = error.reason if isinstance(error, S3dlioError) else f"cannot connect to {server}: {words_of(error)}"
    crowded = is_out_of_files(error)
    hint = OUT_OF_FILES_HINT if crowded else None
    fault = ConnectionDropped(reason, hint=hint, untouched=True, never_sent=True, timed_out=timed_out)
    fault.crowded = crowded
    return fault


def is_out_of_files(error: BaseException) -> bool:
    """Whether a socket could not be made because this process, or the system, has too many files open."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def overdue(seconds: float | None) -> TransferTimeoutError:
    """The error for a request that is not done within the time for the whole operation."""
    return TransferTimeoutError(f"not done within {seconds or 0:g} s", hint="raise operation_timeout")


def final_error(fault: ConnectionDropped, server: str, attempts: int) -> S3dlioError:
    """The public error for a fault after the last attempt."""
    up = f"check that {server} is up and reachable"
    if fault.timed_out:
        setting = "http.connect_timeout" if fault.never_sent else "http.read_timeout"
        advice = f"{up}; if it is slow, raise {setting}; to give up sooner, lower it or retry.max_attempts"
        return TransferTimeoutError(fault.reason, attempts=attempts, hint=advice)
    other = "if it speaks TLS, write https:// in the endpoint's URL" if server.startswith("http://") else None
    hint = fault.hint or (up if fault.never_sent else other if fault.untouched else None)
    return NetworkError(fault.reason, attempts=attempts, hint=hint)


def words_of(error: OSError) -> str:
    """What an operating-system error says, without its number."""
    return error.strerror or str(error) or type(error).__name__
