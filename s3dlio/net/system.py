"""Clocks, sleep, random numbers, selectors and sockets, for ``net``, ``engine`` and the operations of cloud stores.

A simulation (``tests/simulation``) puts others here, so they are looked up at every call: ``system.monotonic()``. The
names hold the functions themselves: a call costs what ``time.monotonic()`` costs.
"""

from __future__ import annotations

import random
import select
import selectors
import socket as _socket
import time as _time
from typing import Any

from urllib3.util import wait as _wait

monotonic = _time.monotonic
perf_counter = _time.perf_counter
time = _time.time
sleep = _time.sleep

uniform = random.uniform

selector = selectors.DefaultSelector
#: Makes a poll object; None where the system has none.
poll: Any = getattr(select, "poll", None)
wait_for_read = _wait.wait_for_read
wait_for_write = _wait.wait_for_write

socket = _socket.socket
socketpair = _socket.socketpair
getaddrinfo = _socket.getaddrinfo
#: Of a socket, past what a subclass makes of it: ``shutdown(sock, how)``.
shutdown = _socket.socket.shutdown
