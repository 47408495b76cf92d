"""boto3: the AWS SDK; its clients may be shared among threads."""

from __future__ import annotations

from collections.abc import Sequence

import boto3
from botocore.config import Config
from protocol import Library, Target, serve


class Boto3(Library):
    def __init__(self, target: Target) -> None:
        super().__init__(target)
        config = Config(max_pool_connections=256, s3={"addressing_style": "path"})
        self.client = boto3.client("s3", endpoint_url=target.endpoint, region_name="us-east-1", config=config)
        self.bucket = target.container

    def get(self, keys: Sequence[str], size: int, in_flight: int) -> int:
        def one(key: str) -> int:
            return len(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

        return self.in_threads(one, keys, in_flight)

    def put(self, keys: Sequence[str], data: bytes, in_flight: int) -> int:
        def one(key: str) -> int:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=data)
            return len(data)

        return self.in_threads(one, keys, in_flight)

    def stat(self, keys: Sequence[str]) -> int:
        return sum(self.client.head_object(Bucket=self.bucket, Key=key)["ContentLength"] for key in keys)

    def list(self) -> int:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return sum(len([entry["Key"] for entry in page["Contents"]]) for page in pages)


if __name__ == "__main__":
    serve(Boto3)
