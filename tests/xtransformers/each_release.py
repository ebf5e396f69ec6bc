"""Test rope_compat with one release of x-transformers after the other, beside one torch.

``python each_release.py FOLDER LOGS [options of pytest]``: each release is installed into a folder of
its own below FOLDER, and tested in a process of its own. The newest is there already.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
TESTS = (HERE, HERE.parent / "unit" / "test_rotary_xpos.py")
NEWEST = "newest"

#: One for each generation of the rotary embedding, one for each kind of broken release, and the newest.
RELEASES = (
    "1.16.0",
    "1.22.9",
    "1.22.10",
    "1.22.12",
    "1.25.3",
    "1.25.15",
    "1.27.5",
    "1.27.11",
    "1.27.12",
    "1.30.0",
    "1.42.20",
    "1.43.1",
    "2.11.11",
    NEWEST,
)


def install(release: str, folder: Path) -> None:
    """Put a release into a folder, if it is not there."""
    if release == NEWEST or list(folder.glob("x_transformers-*.dist-info")):
        return
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        sys.executable,
    ]
    subprocess.run([*command, "--target", str(folder), f"x-transformers=={release}"], check=True)


def run(release: str, folder: Path, logs: Path, options: list[str]) -> int:
    """Test with a release; pytest's exit status."""
    print(f"--- x-transformers {release}", flush=True)
    environ = os.environ | {
        "PYTHONPATH": str(folder) if release != NEWEST else "",
        "ROPE_COMPAT_EXPECT_X_TRANSFORMERS": release,
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--junitxml={logs / f'junit-{release}.xml'}",
        *map(str, TESTS),
        *options,
    ]
    return subprocess.run(command, env=environ, check=False).returncode


def main(folder: Path, logs: Path, *options: str) -> int:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda release: install(release, folder / release), RELEASES))
    workers = max(int(os.environ.get("ROPE_COMPAT_TEST_WORKERS", "1")), 1)
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(lambda release: run(release, folder / release, logs, list(options)), RELEASES))
    bad = [release for release, status in zip(RELEASES, found, strict=True) if status]
    print(f"x-transformers: {len(RELEASES) - len(bad)} releases passed, {len(bad)} failed {' '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
