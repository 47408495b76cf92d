"""Ceph's RADOS Gateway, a production S3 server: one monitor, one storage daemon in memory and one gateway.

Needs root, because Ceph comes only as Debian packages: ``make test-ceph`` installs them.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path
from typing import ClassVar

import urllib3

from tests.servers.base import LOOPBACK, Server, ServerError
from tests.servers.install import debian_packages

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool")
PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "ceph-common")
ACCESS_KEY, SECRET_KEY = "testkey", "testsecret12345678"
BYTES = 6 << 30

# One of everything, no replicas, no authentication between the daemons, short elections.
_CONF = """\
[global]
fsid = {fsid}
mon_host = v2:{host}:{mon_port}
mon_initial_members = a
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_client_mode = crc
ms_cluster_mode = crc
ms_service_mode = crc
ms_bind_msgr1 = false
public_addr = {host}
cluster_addr = {host}
run_dir = {folder}
admin_socket =
pid_file =
log_file = {folder}/$name.log
mon_data = {folder}/mon
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = {bytes}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_heartbeat_grace = 60
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_max_pg_per_osd = 1000
mon_osd_full_ratio = 0.99
mon_osd_nearfull_ratio = 0.98
mon_data_avail_crit = 1
mon_tick_interval = 1
paxos_propose_interval = 0.05
paxos_min_wait = 0.02
[client.rgw]
rgw_frontends = beast {listen} tcp_nodelay=1
rgw_dns_name = localhost
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_thread_pool_size = 16
"""


class RadosgwServer(Server):
    """Ceph's S3; with *tls*, https with a certificate of that authority."""

    name = "radosgw"
    start_timeout: ClassVar[float] = 120.0
    stop_timeout: ClassVar[float] = 0.2  # an orderly end takes Ceph six seconds, and nothing is kept anyway

    @staticmethod
    def install() -> None:
        """Install Ceph's Debian packages if need be (root)."""
        debian_packages(PROGRAMS, PACKAGES)

    @property
    def env(self) -> dict[str, str]:
        return self._aws_env(ACCESS_KEY, SECRET_KEY)

    def _launch(self) -> None:
        self.install()
        folder, mon_port, port, fsid = self.folder, self._reserve_port(), self._reserve_port(), str(uuid.uuid4())
        listen = f"endpoint={LOOPBACK}:{port}"
        if self.tls:
            listen = f"ssl_endpoint={LOOPBACK}:{port} ssl_certificate={self.tls.cert} ssl_private_key={self.tls.key}"
        conf = folder / "ceph.conf"
        conf.write_text(
            _CONF.format(folder=folder, host=LOOPBACK, mon_port=mon_port, fsid=fsid, listen=listen, bytes=BYTES)
        )
        self._environ = {**os.environ, "CEPH_CONF": str(conf)}
        (folder / "mon").mkdir()
        (folder / "osd").mkdir()
        monmap, osd = folder / "monmap", str(uuid.uuid4())
        self._run("monmaptool", "--create", "--addv", "a", f"[v2:{LOOPBACK}:{mon_port}]", "--fsid", fsid, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._spawn(["ceph-mon", "-i", "a", "-f"], log="start-mon", env=self._environ)
        self._run("ceph", "osd", "new", osd, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn(["ceph-osd", "-i", "0", "-f"], log="start-osd", env=self._environ)
        self._run(
            "radosgw-admin",
            "-n",
            "client.rgw",
            "user",
            "create",
            "--uid=test",
            "--display-name=test",
            f"--access-key={ACCESS_KEY}",
            f"--secret-key={SECRET_KEY}",
            "--max-buckets=100000",
        )
        self._spawn(["radosgw", "-n", "client.rgw", "-f"], log="start-radosgw", env=self._environ)
        self._set_port(port)

    def _ready(self) -> bool:
        try:
            return self._ask().status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def _run(self, *argv: str | Path) -> None:
        try:
            done = subprocess.run(
                argv,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.start_timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ServerError(f"{argv[0]}: no answer in {self.start_timeout:.0f} s\n{self.logs()}") from None
        if done.returncode:
            raise ServerError(f"{argv[0]}: {done.stderr.strip()[-1000:]}\n{self.logs()}")
