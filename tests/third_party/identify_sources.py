"""Single functions and classes out of other projects' files, as they are, without what the files import."""

from __future__ import annotations

import ast
import hashlib
import math
import subprocess
import sys
import tempfile
import typing
import urllib.error
import urllib.request
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sources import RAW, MissingSourceError


@dataclass(frozen=True)
class Known:
    """A rotary function of another project, and what it computes, read from its source.

    Attributes:
        repository: ``owner/name`` on GitHub, or ``pypi/name`` for a wheel.
        commit: full commit; for a wheel, its version.
        path: of the file.
        digest: SHA-256 of the file.
        names: the functions and classes that are taken, the one that is identified last.
        verdict: of `rope_compat.identify`.
        pairing: that it has, or had to have.
        tables: which columns they have to have; empty where it makes its own or where nothing fits.
        kind: of its tables, see `Identity.kind`.
        layout: axes of what it turns.
        direction: 1 or -1; 0 where that is not said.
        construct: arguments of the class, where the last name is one.
        method: of the instance, where it is not called itself.
        theta: of what makes its own angles.
    """

    repository: str
    commit: str
    path: str
    digest: str
    names: tuple[str, ...]
    verdict: str = "rotation"
    pairing: str = ""
    tables: str = ""
    kind: str = "cos, sin"
    layout: str = "bhsd"
    direction: int = 1
    construct: tuple[Any, ...] | None = None
    method: str = ""
    theta: float | None = None

    @property
    def title(self) -> str:
        """``owner/name: function``."""
        return f"{self.repository}: {self.names[-1]}" + (f".{self.method}" if self.method else "")


def load(known: Known, store: Path, *, download: bool) -> Any:
    """The function of a record, or the instance that its class makes.

    Raises:
        MissingSourceError: the file cannot be had, or is another one.
    """
    path = store / known.repository / known.commit / known.path
    if not path.exists():
        if not download:
            raise MissingSourceError(f"{path} is not there (give --download to fetch it)")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_wheel_file(known) if known.repository.startswith("pypi/") else _raw(known))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != known.digest:
        raise MissingSourceError(
            f"{path} has SHA-256 {found}, expected {known.digest}: not the unmodified file"
        )
    return _made(known, extract(path.read_text(), known.names))


def _made(known: Known, found: Any) -> Any:
    if known.construct is None:
        return found
    instance = found(*known.construct)
    return getattr(instance, known.method) if known.method else instance


def _raw(known: Known) -> bytes:
    address = RAW.format(repository=known.repository, commit=known.commit, path=known.path)
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, TimeoutError) as error:
        raise MissingSourceError(f"{address}: {error}") from error


def _wheel_file(known: Known) -> bytes:
    wanted = f"{known.repository.removeprefix('pypi/')}=={known.commit}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if not wheels:
            raise MissingSourceError(f"{wanted}: {done.stderr.strip()[-200:] or 'no wheel'}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            return wheel.read(known.path)


def extract(source: str, names: tuple[str, ...]) -> Any:
    """Run the definitions of `names`, without their decorators, beside torch; the last one.

    Raises:
        MissingSourceError: a name is not defined at the top of the file.
    """
    import torch

    tree = ast.parse(source)
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = {node.name: node for node in tree.body if isinstance(node, kinds)}
    lacking = [name for name in names if name not in defined]
    if lacking:
        raise MissingSourceError(f"the file does not define {', '.join(lacking)}")
    for name in names:
        defined[name].decorator_list.clear()
    future = ast.parse("from __future__ import annotations").body
    module = ast.Module(body=[*future, *(defined[name] for name in names)], type_ignores=[])
    space: dict[str, Any] = vars(typing) | {
        "torch": torch,
        "nn": torch.nn,
        "math": math,
        "warnings": warnings,
    }
    space |= {
        name: getattr(torch, name) for name in ("Tensor", "cat", "stack", "is_tensor", "einsum", "arange")
    }
    space |= {"Module": torch.nn.Module, "exists": lambda value: value is not None} | _einops()
    space["__name__"] = "third_party_function"
    exec(compile(ast.fix_missing_locations(module), "<third party>", "exec"), space)
    return space[names[-1]]


def _einops() -> dict[str, Any]:
    try:
        import einops
    except ImportError:
        return {}
    return {"rearrange": einops.rearrange, "repeat": einops.repeat}
