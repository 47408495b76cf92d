"""OpenSSL's own loop over the SSL of a socket is used where all of it is known, and nowhere else."""

from __future__ import annotations

import _ssl
import contextlib
import ctypes
import select
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from s3dlio.net import tls_chain
from tests.servers.certs import Authority

known = pytest.mark.skipif(bool(tls_chain.refusal()), reason="not known here")


@pytest.fixture(autouse=True)
def _looked_up_again() -> Iterator[None]:
    tls_chain._library.cache_clear()
    yield
    tls_chain._library.cache_clear()


@contextlib.contextmanager
def pair(authority: Authority) -> Iterator[ssl.SSLSocket]:
    """A client's socket after its handshake; the other end sends 100,000 bytes."""
    theirs, ours = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.cert, authority.key)

    def serve() -> None:
        with contextlib.suppress(OSError), context.wrap_socket(theirs, server_side=True) as sock:
            sock.sendall(bytes(100_000))
            sock.recv(1)  # until the client has closed

    thread = threading.Thread(target=serve)
    thread.start()
    client = ssl.create_default_context(cafile=authority.bundle)
    try:
        with client.wrap_socket(ours, server_hostname="localhost") as sock:
            yield sock
    finally:
        thread.join()


def test_the_pythons_that_the_tests_run_on_are_known() -> None:
    """The machines of the tests have Linux, glibc, and Pythons that rest on a shared OpenSSL 3."""
    version, size = sys.version_info[:2], _ssl._SSLSocket.__basicsize__
    if version in tls_chain._SIZES and not sys.abiflags:
        assert tls_chain._SIZES[version] == size
        assert tls_chain.refusal() == ""


@known
def test_a_whole_body_in_one_call(authority: Authority) -> None:
    with pair(authority) as sock:
        chain = tls_chain.chain_for(sock)
        assert chain is not None
        room = memoryview(bytearray(b"x" * 100_000))
        assert chain.receive(room, len(room), True) == len(room)
        assert not any(room)


@known
def test_errors_that_others_left_on_the_thread_are_not_taken_for_its_own(authority: Authority) -> None:
    with pair(authority) as sock:
        chain = tls_chain.chain_for(sock)
        assert chain is not None
        room, got = memoryview(bytearray(200_000)), 0
        sock.setblocking(False)
        while got < 100_000:
            select.select([sock], [], [])
            with contextlib.suppress(ssl.SSLWantReadError):
                got += chain.receive(room[got:], len(room) - got, False)
        assert ctypes.CDLL(_ssl.__file__).BIO_new_file(b"/nowhere/at/all", b"r") == 0
        assert chain._library.last_error()
        with pytest.raises(ssl.SSLWantReadError):
            chain.receive(room[got:], len(room) - got, False)


@known
@pytest.mark.parametrize(
    ("where", "name", "value", "reason"),
    [
        (sys, "platform", "darwin", "Linux with glibc"),
        (sys, "implementation", SimpleNamespace(name="cpython", _multiarch="x86_64-linux-musl"), "Linux with glibc"),
        (sys, "implementation", SimpleNamespace(name="pypy", _multiarch="x86_64-linux-gnu"), "64-bit CPython"),
        (sys, "abiflags", "t", "this build of Python"),
        (sys, "abiflags", "d", "this build of Python"),
        (tls_chain, "_SIZES", {}, "not one that it was tested with"),
        (tls_chain, "_SIZES", {sys.version_info[:2]: 104}, "not one that it was tested with"),
        (ssl, "OPENSSL_VERSION", "OpenSSL 1.1.1w  11 Sep 2023", "OpenSSL 3 only"),
        (ssl, "OPENSSL_VERSION", "AWS-LC 1.40", "OpenSSL 3 only"),
        (ssl, "OPENSSL_VERSION_NUMBER", 0x30000001, "is not the one of the ssl module"),
        (_ssl, "__file__", "/nowhere/_ssl.so", "an OpenSSL of its own"),
        (_ssl, "__file__", None, "built into this Python"),
    ],
)
def test_what_is_not_known_is_refused_with_a_reason(
    where: Any, name: str, value: Any, reason: str, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    with pair(authority) as sock:
        monkeypatch.setattr(where, name, value)
        refusal, chain = tls_chain.refusal(), tls_chain.chain_for(sock)
        monkeypatch.undo()
    assert reason in refusal
    assert chain is None


@known
def test_a_module_without_the_functions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is linked to a static library."""
    import _socket

    monkeypatch.setattr(_ssl, "__file__", _socket.__file__)
    assert "an OpenSSL of its own" in tls_chain.refusal()


@known
@pytest.mark.parametrize(
    ("function", "value"),
    [("get_fd", -1), ("get_version", b"TLSv1"), ("client_method", 0x1000)],
)
def test_a_socket_that_does_not_agree_is_left_to_ssl(
    function: str, value: Any, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    monkeypatch.setattr(tls_chain._library(), function, lambda *_: value)
    with pair(authority) as sock:
        assert tls_chain.chain_for(sock) is None


@known
@pytest.mark.parametrize("word", ["_SOCKET", "_CONTEXT"])
def test_an_object_with_other_fields_is_left_alone(
    word: str, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    """Nothing that may not be the address of an SSL is given to OpenSSL."""
    monkeypatch.setattr(tls_chain, word, 0)
    for function in ("get_fd", "get_version", "get_context"):
        monkeypatch.setattr(tls_chain._library(), function, lambda *_: pytest.fail("OpenSSL was called"))
    with pair(authority) as sock:
        assert tls_chain.chain_for(sock) is None


def test_other_kinds_of_sockets_are_left_to_themselves(authority: Authority) -> None:
    class Socket(ssl.SSLSocket):
        pass

    with pair(authority) as sock:
        sock.__class__ = Socket
        assert tls_chain.chain_for(sock) is None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert tls_chain.chain_for(ours) is None
