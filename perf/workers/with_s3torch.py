"""s3torchconnectorclient: the S3 client of Amazon's PyTorch connector (Mountpoint's, on the AWS CRT)."""

from __future__ import annotations

from collections.abc import Sequence

from protocol import Library, Target, serve
from s3torchconnectorclient._mountpoint_s3_client import MountpointS3Client


class S3Torch(Library):
    """It has no put here: it writes every object in parts, which the server of this comparison does not know."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.client = MountpointS3Client(region="us-east-1", endpoint=target.endpoint, force_path_style=True)
        self.bucket = target.container

    def get(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        def one(key: str) -> int:
            return len(b"".join(self.client.get_object(self.bucket, key)))

        return self.in_threads(one, keys, in_flight)

    def stat(self, keys: Sequence[str]) -> int:
        return sum(self.client.head_object(self.bucket, key).size for key in keys)

    def list(self) -> int:
        return sum(len([entry.key for entry in page.object_info]) for page in self.client.list_objects(self.bucket))


if __name__ == "__main__":
    serve(S3Torch)
