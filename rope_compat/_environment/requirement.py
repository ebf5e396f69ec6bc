"""`require`: what the user's program needs, checked and named."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from packaging.version import Version

from rope_compat._environment.model import PackageInfo
from rope_compat._environment.packages import parse_version, read_package
from rope_compat._environment.warn import announce
from rope_compat.errors import ArgumentError, EnvironmentMismatchError, IncompatibleVersionWarning

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["require"]


def require(requirement: str | Iterable[str], on_fail: str = "warn") -> bool:
    """Check installed versions against a requirement, or several; True when all are met.

    ``requirement`` is a PEP 508 requirement (``"transformers>=4.49,<5"``, ``"torch>=2.1"``,
    ``"python>=3.11"``) or a bare PEP 440 specifier (``">=4.49,<5"``), which means transformers. A requirement
    whose marker does not apply here counts as met; extras are not looked at.

    Versions are compared in PEP 440 order, pre-releases and development builds included: 4.49.0.dev0 is older
    than 4.49.0, so it meets ``>=4.48`` but not ``>=4.49``, and by PEP 440's rule for ``<`` not ``<4.49``
    either (``==4.49.*`` takes in everything that will become 4.49.0). Neither package is imported.

    When something is not met: ``on_fail="warn"`` issues `IncompatibleVersionWarning` and returns False;
    ``on_fail="error"`` raises `EnvironmentMismatchError`. Both say what to install. Raises
    `ArgumentError` (a `ValueError`) for a requirement that cannot be read, and `ValueError` for
    another ``on_fail``.
    """
    if on_fail not in ("warn", "error"):
        raise ArgumentError(f"on_fail={on_fail!r} is not known; expected 'warn' or 'error'")
    texts = [requirement] if isinstance(requirement, str) else list(requirement)
    # All of them first: a typing error is no matter of what is installed.
    wanted = [_parse(text) for text in texts]
    failures = [failure for each in wanted if (failure := _failure(*each)) is not None]
    if failures and on_fail == "error":
        raise EnvironmentMismatchError("; ".join(failures))
    for failure in failures:
        announce(failure, IncompatibleVersionWarning)
    return not failures


def _parse(text: str) -> tuple[Requirement, str]:
    # Here, as it takes longer to import than `detect` takes to run, and patch() never needs it.
    from packaging.requirements import InvalidRequirement, Requirement

    if not isinstance(text, str):
        raise ArgumentError(f"{text!r} is no requirement; expected text such as 'transformers>=4.49,<5'")
    full = text.strip()
    if full.startswith(("<", ">", "=", "!", "~")):
        full = f"transformers{full}"
    if re.fullmatch(r"v?\d[\w.+!]*", full):
        # "4.49" would otherwise be read as the name of a package.
        raise ArgumentError(f"{text!r} names no comparison; write '=={full}' or '>={full}'")
    try:
        parsed = Requirement(full)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0] if str(error) else "not a PEP 508 requirement"
        raise ArgumentError(
            f"cannot read the requirement {text!r} ({reason}); expected one such as 'transformers>=4.49,<5'"
        ) from error
    if parsed.url is not None:
        advice = f"give versions, as in '{parsed.name}>=1.0'"
        raise ArgumentError(f"the requirement {text!r} is a URL, which no version answers; {advice}")
    return parsed, full


def _failure(wanted: Requirement, text: str) -> str | None:
    from packaging.utils import canonicalize_name

    if wanted.marker is not None and not wanted.marker.evaluate():
        return None
    name = canonicalize_name(wanted.name)
    if name == "python":
        python = platform.python_version()
        # Interpreters built from a checkout call themselves "3.15.0a1+", which is no PEP 440 version.
        met = wanted.specifier.contains(Version(python.rstrip("+")), prereleases=True)
        return None if met else f"{text} is required, but this is Python {python}; use one that meets it"
    said = _shortcoming(wanted, read_package(name, name.replace("-", "_")))
    install = text.partition(";")[0].strip()
    return None if said is None else f'{text} is required, but {said}; run: pip install "{install}"'


def _shortcoming(wanted: Requirement, found: PackageInfo) -> str | None:
    if found.name == "transformers":
        text = found.version if found.present else None
    else:
        # Metadata first, as the package's name is a guess for other distributions (pillow is PIL).
        text = found.metadata_version or found.version
    if text is None:
        return f"{found.name} is not installed"
    version = parse_version(text)
    said = f"{found.name} {text} is installed"
    if version is None:
        unreadable = f"{said}, which is not a PEP 440 version and cannot be compared"
        return unreadable if wanted.specifier else None
    if wanted.specifier.contains(version, prereleases=True):
        return None
    if not version.is_prerelease:
        return said
    base = version.base_version
    what = "a development build" if version.is_devrelease else "a pre-release"
    said += f", {what}, which is older than {base} and does not count as it"
    for each in wanted.specifier:
        if each.operator == "<" and Version(each.version) == Version(base):
            said += f" (nor as <{each.version}: PEP 440 leaves pre-releases of {base} out of that)"
    return said
