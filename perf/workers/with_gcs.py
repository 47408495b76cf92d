"""google-cloud-storage: Google's SDK."""

from __future__ import annotations

from collections.abc import Sequence

from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from protocol import Library, Target, serve
from requests.adapters import HTTPAdapter


class GoogleStorage(Library):
    """It does not checksum: the server of this comparison tells no checksums."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        client = Client(
            project="perf", credentials=AnonymousCredentials(), client_options={"api_endpoint": target.endpoint}
        )
        client._http.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=256))
        self.bucket = client.bucket(target.container)

    def get(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        def one(key: str) -> int:
            return len(self.bucket.blob(key).download_as_bytes(checksum=None))

        return self.in_threads(one, keys, in_flight)


if __name__ == "__main__":
    serve(GoogleStorage)
