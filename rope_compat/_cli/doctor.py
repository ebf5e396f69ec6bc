"""``rope-compat doctor``: what is installed, what is known to be wrong with it, and what patch() would do."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rope_compat import _api as api
from rope_compat import _settings as settings
from rope_compat._cli import doctor_page, installed_functions
from rope_compat._cli.doctor_page import Examination
from rope_compat._cli.installed_functions import Functions
from rope_compat._environment import detect
from rope_compat._environment.model import Environment
from rope_compat._outcome import Report
from rope_compat._report.terminal import show, show_json
from rope_compat.errors import ArgumentError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="read DIR/config.json: which releases compute other numbers for this model, and how far off",
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="import transformers' models (about half a minute) and look at the rotary functions themselves",
    )


def run(arguments: argparse.Namespace) -> int:
    """Examine, print, and return 1 if anything of severity warning or fatal was found, else 0."""
    examination = examine(deep=arguments.deep, model=arguments.model)
    if arguments.json:
        show_json(doctor_page.to_dict(examination))
    else:
        show(doctor_page.page(examination))
    return 1 if any(problem.severity != "note" for problem in examination.problems) else 0


def examine(*, deep: bool, model: Path | None = None) -> Examination:
    """Look at what is installed, and at the config of a model if one is named.

    `deep` imports transformers' models; otherwise nothing of them is imported.

    Raises:
        ArgumentError: ``ROPE_COMPAT`` or ``ROPE_COMPAT_WRITTEN_FOR`` has a value that is not known, or
            `model` has no config.json.
        RopeConfigError: fields of the config contradict each other.
    """
    config = None if model is None else _read_config(model)
    off = settings.is_off()
    environment = detect()
    if deep:
        installed_functions.import_x_transformers(environment)
    found = _functions(environment, deep=deep)
    plan = api.plan()
    drift = None if config is None else _drift(str(model), config, environment)
    return Examination(environment=environment, plan=plan, off=off, deep=deep, functions=found, drift=drift)


def _read_config(model: Path) -> dict[str, object]:
    path = model / "config.json" if model.is_dir() else model
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"--model {model}: cannot read {path}: {error}; expected a model's directory, with a config.json"
        ) from None
    if not isinstance(found, dict):
        raise ArgumentError(
            f"--model {model}: {path} is {type(found).__name__}, expected an object of fields"
        )
    return found


def _drift(model: str, config: dict[str, object], environment: Environment) -> Report | None:
    """What other releases compute for the model; None where no release is installed to compare with."""
    from rope_compat._verify.drift import known_drift

    version = environment.transformers.version
    if not environment.transformers.present or version is None:
        return None
    return Report(model, known_drift(config, None, version), "verify")


def _functions(environment: Environment, *, deep: bool) -> Functions | None:
    transformers = environment.transformers
    package = transformers.location if transformers.present else None
    # A file in the package's place has no modules to look at.
    if not package or package.endswith(".py") or not (deep or _is_doubtful(environment)):
        return None
    written = installed_functions.read(package)
    if not deep:
        return installed_functions.compare(transformers.version, written, how="read")
    about = f"transformers {transformers.version or ''}".strip()
    imported = installed_functions.import_modules(installed_functions.choose(written, package), about)
    live = installed_functions.live(written, imported)
    return installed_functions.compare(transformers.version, live, how="imported", failed=imported.failed)


def _is_doubtful(environment: Environment) -> bool:
    """Whether the version alone does not say what the functions look like, so that reading them pays."""
    if environment.verdict in ("development", "untested"):
        return True
    return any(problem.code in ("source-install", "version-mismatch") for problem in environment.problems)
