"""Build the sdist, a wheel from it, install that wheel without torch in a new environment, and use it.

``python .ci/check_package.py DIRECTORY``; everything is made below DIRECTORY. Needs ``build``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IN_WHEEL = (
    "rope_compat/py.typed",
    "rope_compat/_version.py",
    "rope_compat/catalog/data/transformers.catalog",
)
IN_SDIST = (
    *IN_WHEEL,
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "constraints.txt",
    "pyproject.toml",
    "tests/unit/test_packaging.py",
    "tox.ini",
)
IMPORT = """
import sys, importlib.metadata, rope_compat
assert rope_compat.__version__ == importlib.metadata.version("rope_compat"), rope_compat.__version__
heavy = {"torch", "transformers"} & set(sys.modules)
assert not heavy, heavy
print("import rope_compat", rope_compat.__version__, "from", rope_compat.__file__)
"""


def run(command: Sequence[str | Path], cwd: Path) -> None:
    print("$", *command, flush=True)
    # The check must not find the package in the checkout.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    status = subprocess.run(command, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, check=False).returncode
    if status != 0:
        raise SystemExit(f"exit status {status}: {' '.join(map(str, command))}")


def require(names: Iterable[str], present: Iterable[str], archive: Path) -> None:
    missing = sorted(set(names) - set(present))
    if missing:
        raise SystemExit(f"{archive.name} lacks {', '.join(missing)}: see tool.hatch.build in pyproject.toml")


def only(directory: Path, pattern: str) -> Path:
    found = sorted(directory.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"expected one {pattern} in {directory}, found {[path.name for path in found]}")
    return found[0]


def check_contents(dist: Path) -> Path:
    """Check what the archives hold; return the wheel."""
    sdist, wheel = only(dist, "*.tar.gz"), only(dist, "*.whl")
    with tarfile.open(sdist) as archive:
        require(IN_SDIST, (name.partition("/")[2] for name in archive.getnames()), sdist)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    require(IN_WHEEL, names, wheel)
    tops = {name.split("/")[0] for name in names}
    if len(tops) != 2 or "rope_compat" not in tops:
        raise SystemExit(f"{wheel.name} installs {sorted(tops)}, expected rope_compat and its metadata")
    return wheel


def check_installed(wheel: Path, directory: Path) -> None:
    environment = directory / "venv"
    venv.create(environment, with_pip=True, clear=True)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    run([python, "-m", "pip", "install", "--quiet", wheel], directory)
    run([python, "-m", "pip", "check"], directory)
    run([python, "-W", "error", "-c", IMPORT], directory)
    run([python, "-m", "rope_compat", "--help"], directory)
    run([scripts / "rope-compat", "--help"], directory)


def main() -> int:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python .ci/check_package.py DIRECTORY")
    directory = Path(sys.argv[1]).resolve()
    dist = directory / "dist"
    dist.mkdir(parents=True, exist_ok=True)
    for old in dist.iterdir():
        old.unlink()
    run([sys.executable, "-m", "build", "--outdir", dist, ROOT], directory)
    check_installed(check_contents(dist), directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
