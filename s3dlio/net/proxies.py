"""Which proxy is used for a host, from the environment: ``https_proxy``, ``no_proxy``, ..."""

from __future__ import annotations

import contextlib
import ipaddress
import os

from s3dlio.errors import ConfigError


def proxy_for(scheme: str, host: str, port: int) -> str | None:
    """The proxy that the environment names for ``scheme`` (``https_proxy``, ``no_proxy``, ...), or None.

    Raises:
        ConfigError: it is no HTTP proxy.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    import urllib.request

    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or bypasses(host, port, proxies.get("no", "")):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    import urllib3

    try:
        kind = urllib3.util.parse_url(proxy).scheme
    except urllib3.exceptions.LocationParseError:
        kind = None
    if kind not in ("http", "https"):
        raise ConfigError(
            f"the proxy for {scheme}:// is no HTTP proxy that can be used ({kind or 'a damaged URL'})",
            hint=f"correct {scheme}_proxy (or all_proxy): http://host:port; or have no_proxy name '{host}'",
        )
    return proxy


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """Whether ``no_proxy`` names a host, as curl and botocore read it: names with all that is beneath them (``.`` or
    ``*.`` before them changes nothing), addresses, networks (``10.0.0.0/8``), each with a port or without, or ``*``."""
    host = host.lower().rstrip(".")
    address = _address(host)
    for written in no_proxy.lower().replace(",", " ").split():
        name, colon, number = written.rpartition(":")
        if colon and number.isdecimal() and (":" not in name or name.endswith("]")):
            if number != str(port):
                continue
            written = name
        written = written.strip("[]")
        if address is not None and "/" in written:
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(written, strict=False):
                    return True
        elif address is not None and _address(written) == address:
            return True
        suffix = written.removeprefix("*").lstrip(".").rstrip(".")
        if written == "*" or (suffix and (host == suffix or host.endswith(f".{suffix}"))):
            return True
    return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
