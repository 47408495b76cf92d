"""Azurite, the Azure Blob emulator from npm. It checks SharedKey and SAS signatures, and bearer tokens over https."""

from __future__ import annotations

from pathlib import Path

from tests.servers.base import LOOPBACK, Server
from tests.servers.install import npm_package

PACKAGE = "azurite@3.37.0"
# The emulator's published account, the same on every installation.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class AzuriteServer(Server):
    """Blob storage in memory. With *tls*, https with a certificate of that authority, and OAuth switched on."""

    name = "azurite"
    lacks = "cannot list a container that has a name with control characters"

    @staticmethod
    def install() -> Path:
        """Install Azurite if need be; return the folder of its programs."""
        return npm_package(PACKAGE)

    @property
    def account_url(self) -> str:
        """The account's address: the emulator has the account in the path, not in the host."""
        return f"{self.endpoint}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol={self.endpoint.partition(':')[0]};AccountName={ACCOUNT};"
            f"AccountKey={ACCOUNT_KEY};BlobEndpoint={self.account_url};"
        )

    @property
    def env(self) -> dict[str, str]:
        env = {
            "AZURE_STORAGE_ENDPOINT": self.account_url,
            "AZURE_STORAGE_ACCOUNT": ACCOUNT,
            "AZURE_STORAGE_KEY": ACCOUNT_KEY,
        }
        return env | ({"AWS_CA_BUNDLE": str(self.tls.bundle)} if self.tls else {})

    def _launch(self) -> None:
        program = self.install() / "azurite-blob"
        port = self._reserve_port()
        argv: list[str | Path] = [
            program,
            "--blobHost",
            LOOPBACK,
            "--blobPort",
            str(port),
            "--inMemoryPersistence",
            "--silent",
            "--skipApiVersionCheck",
            "--disableTelemetry",
        ]
        if self.tls:
            argv += ["--cert", self.tls.cert, "--key", self.tls.key, "--oauth", "basic"]
        self._spawn(argv, log="azurite")
        self._set_port(port)
