"""The rotary functions of the installed transformers: in its source, imported, and against the release."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal, NamedTuple

from packaging.version import InvalidVersion

from rope_compat import catalog
from rope_compat._api import SHIMS
from rope_compat._cli.progress import watched
from rope_compat._environment import signature_drift
from rope_compat._environment.model import Environment
from rope_compat._facts.function_names import NAMES
from rope_compat._patching.references import namespace
from rope_compat._report.page import counted
from rope_compat._rules.selection import Selection
from rope_compat._rules.x_transformers import MODULE as X_TRANSFORMERS
from rope_compat._utils.imports import quiet, reason_of

__all__ = [
    "Drift",
    "Found",
    "Functions",
    "Imported",
    "choose",
    "compare",
    "import_modules",
    "import_x_transformers",
    "live",
    "read",
]

Found = dict[tuple[str, str], str]
"""Signature text by (module, function name)."""


class Imported(NamedTuple):
    """The modules that could be imported, by name, and those that could not, with the reason."""

    modules: dict[str, ModuleType]
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """A function that is not as its release had it; ``message`` is one sentence."""

    target: str
    message: str


@dataclass(frozen=True, slots=True)
class Functions:
    """The rotary functions that are there, as against those of a release.

    Attributes:
        how: ``read`` from the source, or ``imported`` and looked at.
        release: the release that they are compared with, None where the version says none.
        targets: all of them, as ``module:name``.
        drift: those that differ, and those that are not there.
        unknown: those that no known release has.
        failed: modules that could not be imported, and why.
    """

    how: Literal["read", "imported"]
    release: str | None
    targets: tuple[str, ...]
    drift: tuple[Drift, ...] = ()
    unknown: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


# Parsing whole files takes fifty times as long. On each of the 140 releases from 4.28.0 to 5.23.0 the
# pattern finds what parsing finds.
_DEFINITION = re.compile(
    rb"^def (" + "|".join(NAMES).encode() + rb")(\(.*?\))(?:\s*->[^\n]*?)?:[ \t]*(?:#[^\n]*)?\r?$",
    re.MULTILINE | re.DOTALL,
)
_BEGINNING = re.compile(rb"def (?:" + "|".join(NAMES).encode() + rb")\(")
# TensorFlow and Flax modules, up to 4.57.6: no torch tensor reaches their functions.
_FOREIGN = ("modeling_tf_", "modeling_flax_")


def read(package: str) -> Found:
    """The rotary functions in the modeling files below ``package``, the directory of transformers.

    About 0.1 s, and nothing is run. A file that cannot be read is left out.
    """
    found: Found = {}
    for module, file in _modeling_files(package):
        try:
            with open(file, "rb") as stream:
                text = stream.read()
        except OSError:
            continue
        if _BEGINNING.search(text):
            for name, signature in _DEFINITION.findall(text):
                found[module, name.decode()] = catalog.normalize(signature.decode("utf-8", "replace"))
    return found


def _modeling_files(package: str) -> Iterator[tuple[str, str]]:
    for directory, below, files in os.walk(os.path.join(package, "models")):
        below.sort()
        for file in sorted(files):
            if file.startswith("modeling_") and file.endswith(".py") and not file.startswith(_FOREIGN):
                parts = os.path.relpath(os.path.join(directory, file[:-3]), package).split(os.sep)
                yield ".".join(("transformers", *parts)), os.path.join(directory, file)


def choose(found: Found, package: str, selection: Selection | None = None) -> list[str]:
    """The modules to import: those that define a function, and those in which a shim would restore one.

    ``package`` is the directory of transformers; ``selection`` narrows as for `rope_compat.patch`.
    """
    wanted = selection or Selection(None)
    restored = [
        (module, name)
        for shim in SHIMS
        for module, _, name in (target.partition(":") for target in shim.targets)
        if shim.kind == "restore" and os.path.isfile(os.path.join(package, *module.split(".")[1:]) + ".py")
    ]
    return sorted({module for module, name in [*found, *restored] if wanted.selects(module, name)})


def import_modules(names: Sequence[str], about: str) -> Imported:
    """Import modules one by one; whatever one of them raises is its reason, and the next one's turn comes.

    ``about`` names the whole for the progress display, which goes to standard error.
    """
    modules: dict[str, ModuleType] = {}
    failed: list[tuple[str, str]] = []
    with watched(names, f"importing {counted(len(names), 'module')} of {about}") as counting, quiet():
        for name in counting:
            try:
                modules[name] = import_module(name)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                # Also SystemExit: whatever a module does instead of being imported is a finding.
                if "transformers" not in sys.modules:
                    # The package itself fails, and would for each of its modules.
                    failed.append(("transformers", reason_of(error)))
                    break
                failed.append((name, reason_of(error)))
    return Imported(modules, tuple(failed))


def import_x_transformers(environment: Environment) -> None:
    """Import the one module of x-transformers that has targets, where it is installed."""
    found = environment.x_transformers
    if found.present:
        import_modules([X_TRANSFORMERS], about=f"x-transformers {found.version}")


def live(written: Found, imported: Imported) -> Found:
    """The signatures of the functions themselves, of those in ``written`` whose modules were imported.

    A function that is in the source but not in the module is left out.
    """
    from rope_compat._adapters.functions.signature import live_signature, signature_text

    found: Found = {}
    for module, name in written:
        function = namespace(imported.modules[module]).get(name) if module in imported.modules else None
        signature = live_signature(function) if callable(function) else None
        if signature is not None:
            found[module, name] = catalog.normalize(signature_text(signature))
    return found


def compare(
    version: str | None,
    found: Found,
    *,
    how: Literal["read", "imported"],
    failed: tuple[tuple[str, str], ...] = (),
) -> Functions:
    """What differs from the release of that ``version``, or from the one that stands for it.

    Nothing is compared where the version cannot be read. ``failed``: modules that could not be imported, of
    which nothing is expected.
    """
    try:
        release = catalog.release_for(version) if version is not None else None
    except InvalidVersion:
        release = None
    drift: list[Drift] = []
    if version is not None and release is not None:
        for (module, name), signature in sorted(found.items()):
            message = signature_drift(module, name, signature, version)
            if message is not None:
                drift.append(Drift(f"{module}:{name}", message))
        drift += _gone(version, release, found, {module for module, _ in failed})
    return Functions(
        how=how,
        release=release,
        targets=tuple(sorted(f"{module}:{name}" for module, name in found)),
        drift=tuple(drift),
        unknown=tuple(sorted(f"{m}:{name}" for m, name in found if not catalog.spans(m, name))),
        failed=failed,
    )


def _gone(version: str, release: str, found: Found, failed: set[str]) -> Iterator[Drift]:
    """What the release had and this package has not."""
    for module, name in catalog.functions(NAMES) if "transformers" not in failed else ():
        expected = catalog.signature_at(module, name, release)
        if expected is not None and (module, name) not in found and module not in failed:
            message = f"this says {version} but {module}:{name} is not there; {release} had {expected}"
            yield Drift(f"{module}:{name}", message)
