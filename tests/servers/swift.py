"""OpenStack Swift with its S3 front end: a production server from PyPI that enforces SigV4, without root.

One proxy, account, container and object server each, one device, one replica, everything in memory where the system's
memory file system carries extended attributes (tmpfs since Linux 6.6), otherwise on disk.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.servers.base import LOOPBACK, MEMORY, Server, ServerError, ServerUnavailable, accepts, is_roomy
from tests.servers.install import CACHE, python_venv

REQUIREMENTS = ("swift==2.38.3",)
ACCESS_KEY, SECRET_KEY = "test:tester", "testing-secret"
STORAGE = ("account", "container", "object")

_SWIFT_CONF = """\
[swift-hash]
swift_hash_path_prefix = s3dlio
swift_hash_path_suffix = tests
[storage-policy:0]
name = one
default = yes
"""

#: What every server's file begins with.
_COMMON_CONF = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
user = {user}
swift_dir = {folder}
workers = 0
log_level = ERROR
log_address = /nonexistent
"""

_STORAGE_CONF = _COMMON_CONF + """\
devices = {folder}/devices
mount_check = false
disable_fallocate = true
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
replication_server = true
# Nothing here has to survive a power cut.
mb_per_sync = 100000
"""

_PROXY_CONF = _COMMON_CONF + """\
{tls}
[pipeline:main]
pipeline = catch_errors gatekeeper cache s3api tempauth copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
object_chunk_size = 1048576
client_chunk_size = 1048576
[filter:cache]
use = egg:swift#memcache
memcache_servers = {host}:{memcache_port}
connect_timeout = 0.1
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
storage_domain = localhost
dns_compliant_bucket_names = true
allow_multipart_uploads = true
max_bucket_listing = 100
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{person} = {secret} .admin
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
rate_limit_after_segment = 100000
concurrency = 10
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
"""

_RINGS = """\
import json, sys
from swift.common.ring import RingBuilder
for kind, port in json.loads(sys.argv[1]).items():
    builder = RingBuilder(4, 1, 1)
    builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=port, replication_ip="127.0.0.1",
                         replication_port=port, device="d1", weight=1.0, meta=""))
    builder.rebalance()
    builder.get_ring().save(f"{kind}.ring.gz")
"""


class SwiftServer(Server):
    """Swift behind its S3 API; with *tls*, https with a certificate of that authority."""

    name = "swift"
    start_timeout = 60.0

    @staticmethod
    def install() -> Path:
        """Install Swift if need be; return the folder of its programs."""
        return python_venv("swift", *REQUIREMENTS)

    @property
    def env(self) -> dict[str, str]:
        return self._aws_env(ACCESS_KEY, SECRET_KEY)

    def _make_folder(self) -> Path:
        return _folder_with_attributes()

    def _launch(self) -> None:
        programs = self.install()
        (self.folder / "devices/d1").mkdir(parents=True)
        self._ports = {kind: self._reserve_port() for kind in (*STORAGE, "proxy", "memcache")}
        env = {"PATH": os.environ.get("PATH", ""), "SWIFT_DIR": str(self.folder), "HOME": str(self.folder)}
        self._configure(programs, env)
        for kind in (*STORAGE, "proxy"):
            self._spawn([programs / f"swift-{kind}-server", self.folder / f"{kind}-server.conf"], log=kind, env=env)
        self._set_port(self._ports["proxy"])

    def _configure(self, programs: Path, env: dict[str, str]) -> None:
        common = {"folder": self.folder, "host": LOOPBACK, "user": getpass.getuser()}
        (self.folder / "swift.conf").write_text(_SWIFT_CONF)
        for kind in STORAGE:
            text = _STORAGE_CONF.format(kind=kind, port=self._ports[kind], **common)
            (self.folder / f"{kind}-server.conf").write_text(text)
        tls = f"cert_file = {self.tls.cert}\nkey_file = {self.tls.key}" if self.tls else ""
        text = _PROXY_CONF.format(
            port=self._ports["proxy"],
            memcache_port=self._ports["memcache"],
            tls=tls,
            account=ACCESS_KEY.split(":")[0],
            person=ACCESS_KEY.split(":")[1],
            secret=SECRET_KEY,
            **common,
        )
        passive = ("catch_errors", "gatekeeper", "copy", "dlo", "symlink")
        text += "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in passive)
        (self.folder / "proxy-server.conf").write_text(text)
        ports = json.dumps({kind: self._ports[kind] for kind in STORAGE})
        made = subprocess.run(
            [programs / "python", "-c", _RINGS, ports],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise ServerError(f"swift's rings: {made.stderr}")

    def _ready(self) -> bool:
        # The proxy shuns a storage server that refused a connection: wait for these before asking the proxy anything.
        if not all(accepts(LOOPBACK, self._ports[kind]) for kind in (*STORAGE, "proxy")):
            return False
        return self._ask().status < 500


def _folder_with_attributes() -> Path:
    """Return a new folder on a file system that carries Swift's extended attributes (up to 64 KiB in all)."""
    for root in (MEMORY, Path(tempfile.gettempdir()), CACHE):
        if not root.is_dir() or (root == MEMORY and not is_roomy(root)):
            continue
        folder = Path(tempfile.mkdtemp(prefix="s3dlio-swift-", dir=root))
        try:
            os.setxattr(folder, "user.swift.metadata", bytes(1024))
        except OSError:
            shutil.rmtree(folder)
        else:
            return folder
    raise ServerUnavailable("Swift needs user extended attributes: set TMPDIR to a folder on ext4 or xfs")
