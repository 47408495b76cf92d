"""obstore: Apache Arrow's object_store for Python."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from obstore.store import S3Store
from protocol import Library, Target, serve


class Obstore(Library):
    """Blocking calls one by one, coroutines for what is in flight."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        options: dict[str, object] = {"allow_http": True}
        if target.ca_bundle:
            options["root_certificate"] = Path(target.ca_bundle).read_bytes()
        self.store = S3Store(
            target.container,
            endpoint=target.endpoint,
            access_key_id="testing",
            secret_access_key="testing",
            region="us-east-1",
            virtual_hosted_style_request=False,
            client_options=options,
        )

    def get(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        if in_flight == 1:
            return sum(map(self.get_one, keys))
        return asyncio.run(self.in_coroutines(keys, in_flight))

    def get_one(self, key: str) -> int:
        return len(self.store.get(key).bytes())

    async def get_awaited(self, key: str) -> int:
        answer = await self.store.get_async(key)
        return len(await answer.bytes_async())

    def put(self, keys: Sequence[str], data: bytes, in_flight: int) -> int:
        return asyncio.run(self._put_all(keys, data, in_flight))

    async def _put_all(self, keys: Sequence[str], data: bytes, in_flight: int) -> int:
        left = iter(keys)

        async def loop() -> int:
            seen = 0
            for key in left:
                await self.store.put_async(key, data, use_multipart=False)
                seen += len(data)
            return seen

        return sum(await asyncio.gather(*(loop() for _ in range(in_flight))))

    def stat(self, keys: Sequence[str]) -> int:
        return sum(self.store.head(key)["size"] for key in keys)

    def list(self) -> int:
        return sum(len([entry["path"] for entry in chunk]) for chunk in self.store.list(chunk_size=1000))


if __name__ == "__main__":
    serve(Obstore)
