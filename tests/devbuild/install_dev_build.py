"""Install the development build of `make_dev_wheel` into the environment that runs this script.

The environment must already have transformers 4.49.0, for its dependencies. What it leaves is what
``pip install git+https://github.com/huggingface/transformers@main`` leaves, `direct_url.json` (PEP 610)
included.

    python install_dev_build.py [--wheel transformers-4.49.0-py3-none-any.whl]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from make_dev_wheel import BUILD, BUILD_INFO, RELEASE, download, make_wheel, record_row

# No commit of upstream has exactly this content, so none is claimed: 40 hex digits are what tools look for.
COMMIT_ID = hashlib.sha1(f"rope_compat's transformers {BUILD}".encode()).hexdigest()
DIRECT_URL = {
    "url": "https://github.com/huggingface/transformers.git",
    "vcs_info": {"vcs": "git", "commit_id": COMMIT_ID, "requested_revision": "main"},
}


def check_environment() -> None:
    """Refuse to replace transformers where nobody would expect it."""
    if sys.prefix == sys.base_prefix:
        raise SystemExit(f"{sys.executable} is not in a virtual environment; run this with the Python of one")
    try:
        version = importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        version = "missing"
    if version not in (RELEASE, BUILD):
        raise SystemExit(
            f"transformers is {version}; first install transformers=={RELEASE} for its dependencies"
        )


def install(wheel: Path) -> None:
    """Install the wheel alone, with uv where there is one, else with pip."""
    uv = shutil.which("uv")
    if uv:
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--reinstall"]
    else:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]
    subprocess.run([*command, str(wheel)], check=True)


def site_directory() -> Path:
    """Return where the build was installed."""
    # A new process: this one may have cached the release's directories.
    code = "import importlib.metadata as m; print(m.distribution('transformers').locate_file(''))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Path(result.stdout.strip())


def write_direct_url(site: Path) -> Path:
    """Replace the installer's `direct_url.json`, which names the local wheel, and record the new one."""
    target = site / BUILD_INFO / "direct_url.json"
    record = site / BUILD_INFO / "RECORD"
    content = json.dumps(DIRECT_URL, sort_keys=True).encode()
    name = f"{BUILD_INFO}/direct_url.json"
    rows = [row for row in csv.reader(io.StringIO(record.read_text("utf-8"))) if row and row[0] != name]
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([*rows, record_row(name, content)])
    # Unlinked first: uv links installed files to its cache, which must keep its own.
    for path, data in ((target, content), (record, lines.getvalue().encode())):
        path.unlink(missing_ok=True)
        path.write_bytes(data)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {RELEASE}; downloaded if not given")
    options = parser.parse_args(arguments)
    check_environment()
    if options.wheel is None and importlib.util.find_spec("pip") is None:
        raise SystemExit("pip is needed to download transformers: install it, or give --wheel")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        install(make_wheel(options.wheel or download(directory), directory))
    print(f"installed transformers {BUILD}; {write_direct_url(site_directory())} says {COMMIT_ID}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
