"""gcp-storage-emulator: the GCS JSON API from PyPI. It ignores paging, preconditions, 416 and credentials."""

from __future__ import annotations

import os
from pathlib import Path

from tests.servers.base import LOOPBACK, Server
from tests.servers.install import python_venv

REQUIREMENTS = ("gcp-storage-emulator==2026.7.19", "setuptools<81")  # it still imports pkg_resources

#: It would let five connections wait; where more come at once, as uploads in parts do, they would time out.
_PROGRAM = """
import socketserver, sys
socketserver.TCPServer.request_queue_size = 1024
from gcp_storage_emulator.__main__ import main
sys.exit(main())
"""


class GcsServer(Server):
    """Google Cloud Storage in memory."""

    name = "gcs"
    lacks = "ignores conditions (also of create-only puts), pages and positions in listings, and '..' in names"

    @staticmethod
    def install() -> Path:
        """Install the emulator if need be; return the folder of its programs."""
        return python_venv("gcs", *REQUIREMENTS)

    @property
    def env(self) -> dict[str, str]:
        return {
            "STORAGE_EMULATOR_HOST": self.endpoint,
            "GCS_ENDPOINT_URL": self.endpoint,
            "GOOGLE_CLOUD_PROJECT": "s3dlio-tests",
        }

    def _launch(self) -> None:
        port = self._reserve_port()
        python = self.install() / "python"
        options = ("start", "--host", LOOPBACK, "--port", str(port), "--in-memory", "--quiet")
        argv: list[str | Path] = [python, "-c", _PROGRAM, *options]
        self._spawn(argv, log="gcs", env={**os.environ, "PYTHONWARNINGS": "ignore"})
        self._set_port(port)
