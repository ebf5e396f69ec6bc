"""Run tox environments side by side, say when each starts and ends, and end with a table.

The package is built once; every environment installs that wheel. An environment that fails is shown and
does not stop the others. The whole output of each stays in ``.ci/log/<env>.log``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from results import Row, read_counts, text_table

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".ci" / "log"
DIST = ROOT / ".ci" / "dist"
CHECKS = ("lint", "types", "docs", "package")
GOAL_MINUTES = 30
CLOSING_LINE = re.compile(r"^=* ?(\d+ [a-z]+[ ,].*\bin \d[\d.]*s.*?)=*$")
SUMMARY_LINE = re.compile(r"^  (\S+): (OK|FAIL)\b.*?\(([\d.]+)", re.MULTILINE)
SHOWN_LINES = 400
RUNNING: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Settings:
    """What is the same for every environment of one run."""

    workdir: Path
    wheel: Path
    timeout: float
    started: float
    environ: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """One environment's row of the table, and pytest's last line in it, empty where pytest did not run."""

    row: Row
    closing_line: str


def say(started: float, text: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    print(f"[{time.strftime('%H:%M:%S')} +{minutes:02d}:{seconds:02d}] {text}", flush=True)


def environments() -> list[str]:
    """Return the environments that `tox.ini` labels "ci": checks first, then those that take longest.

    Those are the ones with most lanes and, of two with the same, the later release: no core waits for one of
    them in the end.
    """
    names = tox_list("-m", "ci")
    lanes_of = runpy.run_path(str(ROOT / "tests" / "support" / "lanes.py"))["lanes_of"]
    return sorted(names, key=lambda name: (name not in CHECKS, -len(lanes_of(name)), -names.index(name)))


def tox_list(*options: str) -> list[str]:
    command = [sys.executable, "-m", "tox", "list", "-q", "--no-desc", *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = result.stdout.split()
    if result.returncode != 0 or not names:
        raise SystemExit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return names


def run_logged(command: Sequence[str], log: Path, timeout: float, environ: dict[str, str]) -> str:
    """Run a command with its output in ``log``; return "passed", "failed" or "timed out"."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        RUNNING.add(process)
        try:
            return "failed" if process.wait(timeout) else "passed"
        except subprocess.TimeoutExpired:
            return "timed out"
        finally:
            stop(process)
            RUNNING.discard(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End what a command left running: tox, pytest and its workers share one process group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def build_wheel(started: float, environ: dict[str, str]) -> Path:
    shutil.rmtree(DIST, ignore_errors=True)
    log = LOGS / "wheel.log"
    command = [sys.executable, "-m", "uv", "build", "--wheel", "--out-dir", str(DIST), str(ROOT)]
    result = run_logged(command, log, 300, environ)
    wheels = sorted(DIST.glob("*.whl"))
    if result != "passed" or len(wheels) != 1:
        print(log.read_text("utf-8", "replace"))
        raise SystemExit(f"the package could not be built ({result}): {' '.join(command)}")
    say(started, f"built {wheels[0].name}")
    return wheels[0]


def closing_line(log: str) -> str:
    """Return pytest's last line, such as "312 passed in 40.1s", or an empty string."""
    matches = [match for line in log.splitlines() if (match := CLOSING_LINE.match(line.strip()))]
    return matches[-1].group(1).strip() if matches else ""


def forget(name: str, settings: Settings) -> Path:
    """Remove what an environment said in an earlier run; the folder where it will say it."""
    logs = settings.workdir / name / "log"
    for old in (*logs.glob("junit*.xml"), *logs.glob("collected*.json")):
        old.unlink()
    return logs


def run_environment(name: str, settings: Settings) -> list[Outcome]:
    log = LOGS / f"{name}.log"
    logs = forget(name, settings)
    say(settings.started, f"start   {name}")
    begin = time.monotonic()
    command = [sys.executable, "-m", "tox", "run", "-e", name, "--workdir", str(settings.workdir)]
    command += ["--installpkg", str(settings.wheel)]
    result = run_logged(command, log, settings.timeout, settings.environ)
    seconds = time.monotonic() - begin
    text = log.read_text("utf-8", "replace")
    counts = read_counts(logs)
    if result == "passed" and name not in CHECKS and (counts is None or counts.passed == 0):
        result = "no tests"
    line = closing_line(text)
    if result != "passed":
        shown = text.splitlines()[-SHOWN_LINES:]
        print("\n".join([f"--- {name}: last lines of {log.relative_to(ROOT)}", *shown, f"--- {name}: end"]))
    say(settings.started, f"{result:<7} {name} in {seconds:.0f} s{': ' + line if line else ''}")
    return [Outcome(Row(name, result, counts, seconds), line)]


def run_readme_command(settings: Settings, jobs: int) -> list[Outcome]:
    """Run the README's test command, ``tox -p``; one outcome for each of its environments."""
    log = LOGS / "tox.log"
    say(settings.started, "start   tox -p, the README's test command")
    command = [sys.executable, "-m", "tox", "-p", str(jobs), "--workdir", str(settings.workdir)]
    result = run_logged(command, log, 2 * settings.timeout, settings.environ)
    text = log.read_text("utf-8", "replace")
    outcomes = []
    for name, word, seconds in SUMMARY_LINE.findall(text):
        counts = read_counts(settings.workdir / name / "log")
        verdict = "passed" if word == "OK" else "failed"
        if verdict == "passed" and name not in CHECKS and (counts is None or counts.passed == 0):
            verdict = "no tests"
        line = f"{counts.passed} passed, {counts.failed} failed" if counts is not None else ""
        outcomes.append(Outcome(Row(name, verdict, counts, float(seconds)), line))
    if result != "passed" or not outcomes:
        print("\n".join(["--- tox: last lines", *text.splitlines()[-SHOWN_LINES:], "--- tox: end"]))
    if not outcomes or (result != "passed" and all(each.row.result == "passed" for each in outcomes)):
        outcomes.append(Outcome(Row("tox", "failed", None, 0.0), ""))
    say(settings.started, f"{result:<7} tox: {', '.join(each.row.environment for each in outcomes)}")
    return outcomes


def run_all(names: Sequence[str], whole: bool, jobs: int, settings: Settings) -> list[Outcome]:
    """Run environments side by side; those of the README's command, if all are run, by that command.

    It is one job beside the others, so that no core is idle where it waits for its last environment.
    """
    default = tox_list("-d") if whole else []
    for name in default:
        forget(name, settings)
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run_readme_command, settings, jobs)] if whole else []
        futures += [pool.submit(run_environment, name, settings) for name in names if name not in default]
        try:
            outcomes = [outcome for future in as_completed(futures) for outcome in future.result()]
        except BaseException:
            # Interrupted: the pool waits for its threads, and they for their commands.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in tuple(RUNNING):
                stop(process)
            raise
    order = (*names, "tox")
    return sorted(outcomes, key=lambda outcome: order.index(outcome.row.environment))


def tests_that_ran_nowhere(workdir: Path, names: Sequence[str]) -> list[str]:
    """Return the tests that every environment has collected and deselected: nobody would notice them fail."""
    run: set[str] = set()
    left: set[str] = set()
    for name in names:
        for path in (workdir / name / "log").glob("collected*.json"):
            collected = json.loads(path.read_text("utf-8"))
            run.update(collected["run"])
            left.update(collected["not run"])
    return sorted(left - run)


def report(outcomes: Sequence[Outcome], idle: Sequence[str], started: float) -> int:
    width = max(len(outcome.row.environment) for outcome in outcomes)
    print("\npytest's closing lines")
    for outcome in outcomes:
        if outcome.closing_line:
            print(f"{outcome.row.environment:<{width}}  {outcome.closing_line}")
    print(f"\n{text_table(outcome.row for outcome in outcomes)}\n")
    bad = [outcome.row.environment for outcome in outcomes if outcome.row.result != "passed"]
    names = ", ".join(bad)
    verdict = f"{len(bad)} of {len(outcomes)} failed: {names}" if bad else f"all {len(outcomes)} passed"
    if idle:
        print("tests that no environment runs:", *idle, sep="\n  ")
        verdict += f"; {len(idle)} tests run nowhere"
    minutes = (time.monotonic() - started) / 60
    over = f", over the goal of {GOAL_MINUTES} on two idle cores" if minutes > GOAL_MINUTES else ""
    say(started, f"{verdict}, in {minutes:.1f} minutes{over}")
    return 1 if bad or idle else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--env", action="append", metavar="ENV", help="run only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="environments at a time (default: 2)")
    parser.add_argument("--timeout", type=float, default=1200, help="seconds for each (default: 1200)")
    parser.add_argument("--workdir", type=Path, default=ROOT / ".tox", help="where environments are kept")
    parser.add_argument("--list-json", action="store_true", help="print the test environments as JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.list_json:
        print(json.dumps([name for name in environments() if name not in CHECKS]))
        return 0
    # Each command has a process group of its own, which the signal that ends this process does not reach.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # tox reads it by itself; uv, which builds the wheel, needs the same settings.
    runpy.run_path(str(ROOT / "toxfile.py"))
    started = time.monotonic()
    names = options.env or environments()
    LOGS.mkdir(parents=True, exist_ok=True)
    # With several environments at a time, more pytest workers than idle cores only wait for each other.
    workers = (os.cpu_count() or 1) // options.jobs
    environ = {"ROPE_COMPAT_TEST_WORKERS": str(workers if workers > 1 else 0), "NO_COLOR": "1"} | os.environ
    say(started, f"{len(names)} environments, {options.jobs} at a time: {', '.join(names)}")
    wheel = build_wheel(started, environ)
    settings = Settings(options.workdir.resolve(), wheel, options.timeout, started, environ)
    outcomes = run_all(names, not options.env, options.jobs, settings)
    # Only the whole matrix can tell what no environment runs, and only where each has collected.
    whole = not options.env and all(each.row.result == "passed" for each in outcomes)
    idle = tests_that_ran_nowhere(settings.workdir, names) if whole else []
    return report(outcomes, idle, started)


if __name__ == "__main__":
    sys.exit(main())
