"""The route of the requests for one bucket: region, host names, signers. It changes when the service says that the
bucket is in another region than the configured one.
"""

from __future__ import annotations

from s3dlio.config.settings import Settings
from s3dlio.net.message import Request, Service
from s3dlio.stores.s3.access_points import is_arn
from s3dlio.stores.s3.account import S3Account
from s3dlio.stores.s3.hosts import zone_of


class Route:
    """Where the requests for a bucket go.

    Args:
        account: endpoint and keys.
        bucket: its name, or the ARN of an access point; empty for the service itself.
        settings: redirects, connections.

    Attributes:
        is_directory: it is a directory bucket, of S3 Express One Zone.
        region: where the bucket is, as far as is known.
        place: host and path of the bucket, and how requests are signed.
        target, base: where the requests for objects go, and what their paths begin with.
        copies: the same with the account's own keys: copies are not signed with those of a session.
        control, control_path: where the bucket is made and deleted.
    """

    def __init__(self, account: S3Account, bucket: str, settings: Settings) -> None:
        self.account = account
        self.bucket = bucket
        self.settings = settings
        self.is_directory = zone_of(bucket) is not None
        self.locate(account.region)

    def locate(self, region: str) -> None:
        """Find the way to our bucket in ``region``."""
        account, endpoint = self.account, self.account.endpoint
        self.region = region
        self.place = place = endpoint.place(self.bucket, region)
        self.target, self.base = account.service_at(place), place.path
        self.copies = account.service_at(place._replace(signing="keys")) if self.is_directory else self.target
        control = endpoint.control_place(self.bucket, region, directories=self.is_directory)
        self.control, self.control_path = account.service_at(control), control.path

    @property
    def is_movable(self) -> bool:
        """Whether the service may say that the bucket is in another region; an access point and a zone are fixed."""
        return not is_arn(self.bucket) and self.place.service == "s3"

    def home_of(self, request: Request) -> Service:
        """Where a request belongs."""
        of_bucket = request.method in ("PUT", "DELETE") and request.path == (self.control_path or "/")
        return self.control if of_bucket else self.target
