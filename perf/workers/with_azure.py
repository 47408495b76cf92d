"""azure-storage-blob: Microsoft's SDK."""

from __future__ import annotations

import os
from collections.abc import Sequence

from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient
from protocol import Library, Target, serve
from requests import Session
from requests.adapters import HTTPAdapter


class AzureBlob(Library):
    def __init__(self, target: Target) -> None:
        super().__init__(target)
        session = Session()
        session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=256))
        self.client = ContainerClient(
            f"{target.endpoint}/perf",
            target.container,
            credential={"account_name": "perf", "account_key": os.environ["AZURE_STORAGE_KEY"]},
            transport=RequestsTransport(session=session, session_owner=False),
            max_single_get_size=64 << 20,
        )

    def get(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        def one(key: str) -> int:
            return len(self.client.download_blob(key).readall())

        return self.in_threads(one, keys, in_flight)


if __name__ == "__main__":
    serve(AzureBlob)
