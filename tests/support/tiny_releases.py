"""Releases of a tiny transformers, with a few rotary functions: wheels, sdists, directories and checkouts."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.version import Version

from rope_compat.catalog.harvest import harvest
from rope_compat.catalog.history import History, encode
from rope_compat.catalog.model import ReleaseFacts

MODULE = "transformers.models.tiny.modeling_tiny"

_SIGNATURES = (
    "q, k, cos, sin, position_ids",
    "q, k, cos, sin, position_ids, unsqueeze_dim=1",
    "q, k, cos, sin, unsqueeze_dim=1",
)
_BEFORE_5 = """
class TinyRotaryEmbedding(nn.Module):
    def __init__(self, dim, base=10000):
        super().__init__()
        self.dim = dim

    def forward(self, x, seq_len=None):
        return x
"""
_SINCE_5 = """
class TinyRotaryEmbedding(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, x, position_ids):
        return x


ROPE_INIT_FUNCTIONS = {"default": None, "linear": None}
"""


def files_of(version: str) -> dict[str, bytes]:
    """The Python files of a release, by their paths below ``transformers/``.

    They differ from release to release, and some are the same in several.
    """
    number = Version(version)
    # Not in order: so that a fact comes, goes, and comes back.
    signature = _SIGNATURES[(number.minor + number.micro) % len(_SIGNATURES)]
    modeling = f'''
import torch
from torch import nn
from ...utils import logging

def rotate_half(x):
    return x

def apply_rotary_pos_emb({signature}):
    """Version {number.minor % 2}."""
    return q * cos + {number.micro}, k * cos

{_SINCE_5 if number.major >= 5 else _BEFORE_5}

class TinyAttention(nn.Module):
    def forward(self, hidden_states, position_embeddings):
        cos, sin = position_embeddings
        return apply_rotary_pos_emb(hidden_states, hidden_states, cos, sin)
'''
    files = {
        "__init__.py": f'__version__ = "{version}"\nfrom .utils import logging\n',
        "utils/__init__.py": "from . import logging\n",
        "utils/logging.py": "def get_logger(name):\n    return name\n",
        "models/__init__.py": "",
        "models/tiny/__init__.py": "from .modeling_tiny import TinyAttention\n",
        "models/tiny/modeling_tiny.py": modeling,
    }
    if number.minor % 2:
        files["models/odd/__init__.py"] = ""
        files["models/odd/modeling_odd.py"] = "from ..tiny.modeling_tiny import apply_rotary_pos_emb\n"
    return {path: text.encode() for path, text in files.items()}


def make_wheel(
    directory: Path, version: str, *, name: str | None = None, more: Mapping[str, bytes] | None = None
) -> Path:
    """A wheel that pip takes; ``more`` has members to add, or to replace, by their whole names."""
    info = f"transformers-{version}.dist-info"
    members = {f"transformers/{path}": content for path, content in files_of(version).items()}
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/RECORD"] = b""
    path = directory / (name or f"transformers-{version}-py3-none-any.whl")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in {**members, **(more or {})}.items():
            archive.writestr(member, content)
    return path


def make_sdist(directory: Path, version: str, *, more: Mapping[str, bytes] | None = None) -> Path:
    """An sdist, whose ``setup.py`` fails when it is run."""
    members = {f"src/transformers/{path}": content for path, content in files_of(version).items()}
    members["setup.py"] = b'raise SystemExit("an sdist was run")\n'
    members["PKG-INFO"] = f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n".encode()
    path = directory / f"transformers-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members.items():
            _add(archive, f"transformers-{version}/{member}", content)
        for member, content in (more or {}).items():
            _add(archive, member, content)
    return path


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def make_tree(directory: Path, version: str, *, package: str = "transformers") -> Path:
    """An unpacked release: the directory, with the package at ``package`` in it."""
    for path, content in files_of(version).items():
        file = directory / package / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return directory


def make_checkout(directory: Path, version: str) -> tuple[Path, str]:
    """A git checkout, and its commit in short."""
    make_tree(directory, version, package="src/transformers")
    identity = ("-c", "user.name=tiny", "-c", "user.email=tiny@example.org", "-c", "commit.gpgsign=false")

    def git(*words: str) -> str:
        command = ["git", "-C", str(directory), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "all of it")
    return directory, git("rev-parse", "--short=12", "HEAD")


def make_wheels(directory: Path, versions: Iterable[str]) -> Path:
    """A directory of wheels."""
    directory.mkdir(parents=True, exist_ok=True)
    for version in versions:
        make_wheel(directory, version)
    return directory


def facts_of(path: Path) -> ReleaseFacts:
    """What the catalog takes from a source."""
    return harvest(path)


def catalog_of(paths: Iterable[Path]) -> bytes:
    """The file that has these sources, made without `rope_compat.catalog.update`."""
    history = History()
    for path in paths:
        history.add(harvest(path))
    return encode(history)
