"""nginx as an object server so fast that the client is what is measured: sendfile from memory, PUT and DELETE by dav.

It checks no signatures. A container is a folder, an object a file; ``add_listing`` makes a bucket answer S3 listings.
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from tests.servers.base import LOOPBACK, Server
from tests.servers.certs import Authority
from tests.servers.install import debian_program

PAGE = 1000

_CONF = """\
daemon off;
worker_processes {workers};
worker_rlimit_nofile {open_files};
pid {folder}/nginx.pid;
error_log stderr error;
{user}
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    keepalive_timeout 3600;
    {cache}
    client_max_body_size 0;
    client_body_buffer_size 1m;
    client_body_temp_path {folder}/incoming;
    proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp;
    scgi_temp_path {folder}/tmp;
    # dav answers a PUT without an ETag, which S3 clients insist on. An empty one would take the files' own away.
    map $request_method $etag {{ default $sent_http_etag; PUT '"nginx-dav"'; }}
    # Azure's SDK asks for ranges by a field of its own, gets the whole blob, and wants to be told its size.
    map $http_x_ms_range $blob_range {{ default ""; "~." "bytes 0-0/$sent_http_content_length"; }}
    # list-type=2: the page is a file named by its continuation token.
    map $args $page {{
        default "";
        "~continuation-token=page-(?<number>[0-9]+)" $number;
        "~list-type=2" 1;
    }}
    # What else S3 can be asked for, where the server is to take it.
    map "$request_method $args" $wish {{
        default "";
        "~^POST uploads" begin;
        "~^POST .*uploadId=" complete;
        "~^POST delete" delete;
    }}
    map "$request_method $args" $part {{ default ""; "~^PUT .*partNumber=(?<index>[0-9]+)" $index; }}
    server {{
        listen {host}:{port} backlog=4096{ssl};
        {also}
        {tls}
        {rate}
        root {root};
        merge_slashes off;
        dav_methods PUT DELETE;
        create_full_put_path on;
        add_header ETag $etag;
        # A field of S3's own, by which a missing object is told from a server that is none.
        add_header x-amz-request-id nginx always;
        add_header Content-Range $blob_range;
        location / {{
            if ($page) {{ rewrite ^/([^/]+) /.pages/$1/$page.xml break; }}
            {parts}
        }}
    }}
}}
"""

#: Uploads in parts, which stay parts (files under .parts), and batch deletes, which delete nothing.
_PARTS = """\
if ($wish = begin) { return 200 "<InitiateMultipartUploadResult><UploadId>1</UploadId>\
</InitiateMultipartUploadResult>"; }
            if ($wish = complete) { return 200 "<CompleteMultipartUploadResult><ETag>&quot;nginx-parts&quot;</ETag>\
</CompleteMultipartUploadResult>"; }
            if ($wish = delete) { return 200 "<DeleteResult></DeleteResult>"; }
            if ($part) { rewrite ^/(.*)$ /.parts/$1/$part break; }"""


class NginxServer(Server):
    """nginx over a folder in memory.

    workers: how many processes answer.
    cache: keep files open. Fastest for reading, but an object that is overwritten or deleted is seen as it was for
        up to a minute: switch it off to read back what was put.
    parts: take uploads in parts, which stay files of their own, and batch deletes, which delete nothing.
    also: another address and port to listen on.
    tls: serve https, TLS 1.3 only, with a certificate of that authority.
    http2: offer HTTP/2 beside HTTP/1.1 in the handshake; with ``tls``.
    rate: bytes a second that one connection is sent at most; 0: as fast as it takes them.
    """

    name = "nginx"

    def __init__(
        self,
        *,
        workers: int = 2,
        cache: bool = True,
        parts: bool = False,
        also: str | None = None,
        tls: Authority | None = None,
        http2: bool = False,
        rate: int = 0,
    ) -> None:
        super().__init__(tls=tls)
        self.workers, self.cache, self.parts, self.also = workers, cache, parts, also
        self.http2 = http2
        self.rate = rate

    @staticmethod
    def install() -> Path:
        """Return the path of nginx, unpacked from Debian's package if the system has none."""
        return debian_program("nginx", "nginx")

    @property
    def env(self) -> dict[str, str]:
        return self._aws_env()

    @property
    def root(self) -> Path:
        """The folder that is served: /bucket/key is the file bucket/key in it."""
        return self.folder / "root"

    def add_object(self, path: str, data: bytes) -> None:
        """Put *data* at *path* ("bucket/key") without a request."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def add_listing(self, bucket: str, keys: Sequence[str], *, size: int = 4096) -> None:
        """Answer S3 listings of *bucket* with *keys*, in pages of 1,000, whatever prefix is asked for.

        The objects themselves are not made.
        """
        self._add_pages(bucket, [(key, size, f"{index % PAGE:032x}") for index, key in enumerate(keys)])

    def _add_pages(self, bucket: str, objects: Sequence[tuple[str, int, str]]) -> None:
        folder = self.root / ".pages" / bucket
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        pages = [objects[start : start + PAGE] for start in range(0, len(objects), PAGE)] or [[]]
        for number, page in enumerate(pages, 1):
            following = number + 1 if number < len(pages) else None
            (folder / f"{number}.xml").write_text(_listing(bucket, page, following), encoding="utf-8")

    def list_bucket(self, bucket: str) -> None:
        """Answer S3 listings of *bucket* with the files that are in it now, their sizes and ETags."""
        folder = self.root / bucket
        files = sorted((str(path.relative_to(folder)), path.stat()) for path in folder.rglob("*") if path.is_file())
        self._add_pages(bucket, [(key, found.st_size, f"{int(found.st_mtime):x}-{found.st_size:x}")
                                 for key, found in files])  # fmt: skip

    def _launch(self) -> None:
        program = self.install()
        for name in ("root/.pages", "incoming", "tmp"):
            (self.folder / name).mkdir(parents=True)
        port = self._reserve_port()
        tls = ""
        if self.tls:
            tls = f"ssl_certificate {self.tls.cert}; ssl_certificate_key {self.tls.key}; ssl_protocols TLSv1.3;"
        conf = self.folder / "nginx.conf"
        conf.write_text(
            _CONF.format(
                folder=self.folder,
                root=self.root,
                host=LOOPBACK,
                port=port,
                workers=self.workers,
                tls=tls,
                ssl=(" ssl http2" if self.http2 else " ssl") if self.tls else "",
                parts=_PARTS if self.parts else "",
                rate=f"limit_rate {self.rate};" if self.rate else "",
                also=f"listen {self.also} backlog=4096;" if self.also else "",
                user="user root;" if os.geteuid() == 0 else "",
                cache=f"open_file_cache max={_open_files() // 2} inactive=60s;" if self.cache else "",
                open_files=_open_files(),
            )
        )
        self._spawn([program, "-e", "stderr", "-p", self.folder, "-c", conf], log="nginx")
        self._set_port(port)


def _open_files() -> int:
    """How many files a worker may have open. One whose cache holds them all accepts no connections any more."""
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 400_000)


def _listing(bucket: str, objects: Sequence[tuple[str, int, str]], following: int | None) -> str:
    token = f"<NextContinuationToken>page-{following}</NextContinuationToken>" if following else ""
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key, size, etag in objects
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{escape(bucket)}</Name><Prefix></Prefix><KeyCount>{len(objects)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
        f"<IsTruncated>{str(bool(following)).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
    )
