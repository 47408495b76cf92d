"""The servers that tests, benchmarks and the demo run against, each started and stopped by one small class.

>>> with MotoServer() as server:
...     os.environ.update(server.env)

Every server listens on the loopback address only, on a free port, and dies with the process that started it.
What a server needs beyond this project's own requirements is installed once into the user's cache folder.
"""

from tests.servers.base import Server, ServerError, ServerUnavailable

__all__ = ["Server", "ServerError", "ServerUnavailable"]
