"""Read by tox before `tox.ini`: tells uv, which does not read pip's configuration, where packages come from.

What the caller says in ``UV_*`` variables is left alone. Otherwise pip's ``find-links``, ``index-url``,
``constraint`` and ``cert`` are handed on, whether they stand in ``PIP_*`` variables or in a configuration
file. On Linux, where torch from the package index brings gigabytes of GPU packages, torch is taken from
PyTorch's index of CPU builds, unless the caller has named a place.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from pathlib import Path

PLACES = (
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_TORCH_BACKEND",
)


def pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files, those that win last (pip's documentation, "Location")."""
    given = environ.get("PIP_CONFIG_FILE")
    if given == os.devnull:
        return []
    home = Path.home()
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        config_home / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    return [*files, Path(given)] if given else files


def pip_setting(name: str, environ: Mapping[str, str]) -> str:
    """Return one of pip's settings as pip would see it, or an empty string."""
    from_environment = environ.get(f"PIP_{name.upper().replace('-', '_')}")
    if from_environment:
        return from_environment
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(pip_files(environ), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        print(f"toxfile.py: pip's configuration is not used, it cannot be read: {error}", file=sys.stderr)
        return ""
    values = (parser.get(section, name, fallback="") for section in ("install", "global"))
    return next((value for value in values if value), "")


def uv_settings(environ: Mapping[str, str], platform: str) -> dict[str, str]:
    """Return the variables that uv reads, those to be added to ``environ``."""
    settings = {}
    find_links = pip_setting("find-links", environ)
    index = pip_setting("index-url", environ)
    constraint = pip_setting("constraint", environ)
    if find_links and not environ.get("UV_FIND_LINKS"):
        settings["UV_FIND_LINKS"] = ",".join(find_links.split())
    if constraint and not environ.get("UV_CONSTRAINT"):
        settings["UV_CONSTRAINT"] = " ".join(constraint.split())
    if index and not any(environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        settings["UV_DEFAULT_INDEX"] = index
    own_place = any(settings.get(name) or environ.get(name) for name in PLACES)
    certificates = pip_setting("cert", environ)
    if certificates and not environ.get("SSL_CERT_FILE"):
        settings["SSL_CERT_FILE"] = certificates
    if platform == "linux" and not own_place:
        settings["UV_TORCH_BACKEND"] = "cpu"
    return settings


os.environ.update(uv_settings(os.environ, sys.platform))
