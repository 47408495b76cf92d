"""Bodies through TLS in one call: OpenSSL's own loop over the connection that Python's ``ssl`` has opened.

``ssl`` returns one record (16 KiB at most) a call: the interpreter lock changes hands 4,096 times in a body of 64 MiB,
and threads wait for each other. A BIO_f_buffer over a BIO_f_ssl over the connection's own SSL reads as many records as
there are, straight to their place, in one C call without the lock. Whatever is less than ``CHAIN_FROM`` bytes (heads,
small bodies) stays with ``ssl``, which shares the connection: all that is read and not asked for yet is in the SSL. The
buffer of the chain is never used, since it is smaller than any read through it. Nor is it for writing: one
``SSL_write`` of ``ssl`` makes as many records as it is given bytes.

The address of the SSL is read out of an object of CPython's. That is done where Python's version, its build and the
size of that object are ones that the tests have seen (``refusal``), and only where the object's neighbouring fields,
the protocol's version, the descriptor and the library's own tables agree with it (``chain_for``).

The chain does not own the SSL, and is gone before it: it keeps the object that does. Older releases of OpenSSL end the
session of the SSL when a BIO_f_ssl is freed, in a forked child also that of its parent; a quiet shutdown says nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import ssl
import sys
import weakref
from functools import lru_cache
from typing import Any

from s3dlio.memory.buffers import address_of

__all__ = ["CHAIN_FROM", "BodyChain", "chain_for", "refusal"]

#: Less than this is read by ``ssl``; the buffer of a chain has 4 KiB.
CHAIN_FROM = 32 * 1024

#: The basic size of the object around an SSL, by version: what the tests have run on.
_SIZES = {(3, 11): 96, (3, 12): 80, (3, 13): 80}
#: Its words, of 8 bytes: reference count, type, weak reference to the socket, SSL, context.
_SOCKET, _SSL, _CONTEXT = 2, 3, 4

# openssl/bio.h, openssl/ssl.h
_BIO_C_SET_SSL, _BIO_NOCLOSE = 109, 0
_SHOULD_RETRY, _RETRY_WRITE = 8, 2
# openssl/err.h: the code of a system call's error.
_SYSTEM_FLAG = 1 << 31
_UNEXPECTED_EOF = "UNEXPECTED_EOF_WHILE_READING"
_EOF = "EOF occurred in violation of protocol"


class _OpenSSL:
    """The functions of the library that ``_ssl`` is linked to.

    Args:
        path: of the ``_ssl`` module: what it depends on is looked for there.

    Raises:
        OSError, AttributeError: they cannot be reached.
    """

    def __init__(self, path: str) -> None:
        pointer, number = ctypes.c_void_p, ctypes.c_int
        slow = ctypes.CDLL(path, use_errno=True)  # lets the GIL go
        quick = ctypes.PyDLL(path)

        def bind(name: str, result: Any, *arguments: Any, library: Any = quick) -> Any:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            return function

        self.read = bind("BIO_read", number, pointer, pointer, number, library=slow)
        self.ctrl = bind("BIO_ctrl", ctypes.c_long, pointer, number, ctypes.c_long, pointer)
        self.new = bind("BIO_new", pointer, pointer)
        self.push = bind("BIO_push", pointer, pointer, pointer)
        self.free_all = bind("BIO_free_all", None, pointer)
        self.test_flags = bind("BIO_test_flags", number, pointer, number)
        self.buffer_method = bind("BIO_f_buffer", pointer)
        self.ssl_method = bind("BIO_f_ssl", pointer)
        self.clear_errors = bind("ERR_clear_error", None)
        self.last_error = bind("ERR_peek_last_error", ctypes.c_ulong)
        self.reason = bind("ERR_reason_error_string", ctypes.c_char_p, ctypes.c_ulong)
        self.version_number = bind("OpenSSL_version_num", ctypes.c_ulong)
        self.get_error = bind("SSL_get_error", number, pointer, number)
        self.get_fd = bind("SSL_get_fd", number, pointer)
        self.get_version = bind("SSL_get_version", ctypes.c_char_p, pointer)
        self.get_context = bind("SSL_get_SSL_CTX", pointer, pointer)
        self.get_method = bind("SSL_CTX_get_ssl_method", pointer, pointer)
        self.client_method = bind("TLS_client_method", pointer)
        self.set_quiet = bind("SSL_set_quiet_shutdown", None, pointer, number)


def refusal() -> str:
    """Why bodies cannot cross TLS through a chain in this process; empty: they can."""
    found = _library()
    return found if isinstance(found, str) else ""


@lru_cache(maxsize=1)
def _library() -> _OpenSSL | str:
    if not sys.platform.startswith("linux") or not getattr(sys.implementation, "_multiarch", "").endswith("-linux-gnu"):
        return "it is known on Linux with glibc only"
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return "it is known for 64-bit CPython only"
    if sys.abiflags or hasattr(sys, "gettotalrefcount") or hasattr(sys, "getobjects"):
        return "this build of Python (debugging, free threads) lays objects out in another way"
    import _ssl  # only now: where none of this is known, nothing of it is touched

    version = ".".join(map(str, sys.version_info[:2]))
    if _SIZES.get(sys.version_info[:2]) != _ssl._SSLSocket.__basicsize__:  # type: ignore[attr-defined]
        return f"the ssl module of this Python {version} is not one that it was tested with"
    if not ssl.OPENSSL_VERSION.startswith("OpenSSL 3."):
        return f"it is known for OpenSSL 3 only, and this Python has {ssl.OPENSSL_VERSION}"
    path = getattr(_ssl, "__file__", None)
    if path is None:
        return "the ssl module is built into this Python"
    try:
        library = _OpenSSL(path)
    except (OSError, AttributeError):
        return "the ssl module of this Python has an OpenSSL of its own, without the functions for it"
    if library.version_number() != ssl.OPENSSL_VERSION_NUMBER:
        return "the OpenSSL that is found is not the one of the ssl module"
    return library


def chain_for(sock: Any) -> BodyChain | None:
    """A chain over an open TLS connection; None where it is not certain that there can be one.

    Args:
        sock: the socket, after its handshake.
    """
    library = _library()
    if isinstance(library, str) or type(sock) is not ssl.SSLSocket:
        return None
    owner = sock._sslobj  # type: ignore[attr-defined]
    pointer = _pointer(library, owner, sock)
    return BodyChain(library, owner, pointer) if pointer else None


def _pointer(library: _OpenSSL, owner: Any, sock: ssl.SSLSocket) -> int:
    """The address of the SSL within the object that owns it; 0 unless everything agrees."""
    if owner is None or type(owner).__basicsize__ != _SIZES[sys.version_info[:2]]:
        return 0
    words = (ctypes.c_size_t * 5).from_address(id(owner))
    # References to one object without a callback are one.
    if words[_SOCKET] != id(weakref.ref(sock)) or words[_CONTEXT] != id(owner.context):
        return 0
    pointer = words[_SSL]
    if not pointer or library.get_fd(pointer) != sock.fileno():
        return 0
    if library.get_version(pointer).decode() != sock.version():
        return 0
    # The table of the library that made it.
    return pointer if library.get_method(library.get_context(pointer)) == library.client_method() else 0


class BodyChain:
    """Reads bodies through the SSL of one connection. One thread at a time uses it, as with any connection."""

    __slots__ = ("_bio", "_free", "_library", "_reading", "_ssl", "_unclosed", "ended", "failure", "owner")

    def __init__(self, library: _OpenSSL, owner: Any, pointer: int) -> None:
        self._library = library
        self._free = library.free_all  # names of this module may be gone before the last connection
        #: The object of ``ssl`` around the SSL. It is kept, also while another thread closes the socket.
        self.owner = owner
        self._ssl = pointer
        self._bio = 0
        self._reading = False
        self._unclosed: Any = None
        #: The session has ended, perhaps behind bytes that were returned.
        self.ended = False
        #: What ended it, to be raised now; None: an end in order, or none.
        self.failure: OSError | None = None
        secure, buffer = library.new(library.ssl_method()), library.new(library.buffer_method())
        if not secure or not buffer:
            self._free(secure)
            self._free(buffer)
            raise MemoryError
        library.set_quiet(pointer, 1)
        library.ctrl(secure, _BIO_C_SET_SSL, _BIO_NOCLOSE, pointer)
        self._bio = library.push(buffer, secure)

    def __del__(self) -> None:
        bio, self._bio = self._bio, 0
        if bio:
            self._free(bio)

    def receive(self, room: memoryview, count: int, blocking: bool) -> int:
        """Receive up to ``count`` bytes, at least ``CHAIN_FROM``, into ``room``.

        On a blocking socket all of them, unless a signal, the end or an error comes first; otherwise what is there.

        Returns:
            the number of bytes; perhaps ``ended`` is true then. 0 at the end of the session.

        Raises:
            ssl.SSLWantReadError, ssl.SSLWantWriteError: nothing is there now.
            InterruptedError: a signal came before the first byte, on a blocking socket.
            TimeoutError: nothing came within the time-out of a blocking socket.
            OSError, ssl.SSLError: as from ``ssl``.
        """
        library = self._library
        self._reading = True
        try:
            library.clear_errors()
            got: int = library.read(self._bio, address_of(room), count)
            if got == count:
                return got
            number = ctypes.get_errno()
            if flags := library.test_flags(self._bio, _SHOULD_RETRY | _RETRY_WRITE):
                failure: OSError | None = _waiting(number, flags, blocking)
                if got > 0 and not isinstance(failure, TimeoutError):
                    return got
            else:
                failure, self.ended = self._end(number), True
                library.clear_errors()
        finally:
            self._reading = False
            if self._unclosed is not None:
                self._unclosed.close()
        if failure is None:
            return max(got, 0)
        if got > 0:
            self.ended, self.failure = True, failure
            return got
        try:
            raise failure
        finally:
            del failure  # its traceback has this frame: the cycle would keep the room for the body

    def close_after_reading(self, sock: Any) -> bool:
        """Whether another thread reads now: it closes ``sock`` then. The descriptor must not become another socket's
        while OpenSSL goes on with it."""
        if not self._reading:
            return False
        self._unclosed = sock
        return self._reading

    def _end(self, number: int) -> OSError | None:
        """What has ended the session, by the library's own words; None: the other end, in order.

        Args:
            number: the error of the last system call.
        """
        library = self._library
        kind, code = library.get_error(self._ssl, 0), library.last_error()
        if kind == ssl.SSL_ERROR_ZERO_RETURN:
            return None
        if code & _SYSTEM_FLAG:
            number = code & ~_SYSTEM_FLAG
        elif code:
            text = (library.reason(code) or b"unknown error").decode(errors="replace")
            reason = text.upper().replace(" ", "_")
            if reason == _UNEXPECTED_EOF:
                error: ssl.SSLError = ssl.SSLEOFError(ssl.SSL_ERROR_EOF, f"[SSL: {reason}] {_EOF}")
            else:
                error = ssl.SSLError(ssl.SSL_ERROR_SSL, f"[SSL: {reason}] {text}")
            error.library, error.reason = "SSL", reason
            return error
        if number:
            return OSError(number, os.strerror(number))
        return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, _EOF)


def _waiting(number: int, flags: int, blocking: bool) -> OSError:
    """Why a read has stopped that can go on.

    Args:
        number: the error of the last system call.
        flags: of the BIO.
        blocking: whether the socket blocks.
    """
    if not blocking:
        if flags & _RETRY_WRITE:
            return ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)")
        return ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)")
    if number in (errno.EAGAIN, errno.EWOULDBLOCK):
        return TimeoutError("The read operation timed out")
    return InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
