"""Compare the rotary functions that are there with those that their release had."""

from __future__ import annotations

from typing import Literal

from packaging.version import InvalidVersion

from rope_compat import catalog
from rope_compat._cli.importing import Imported
from rope_compat._cli.source import Found
from rope_compat._environment import signature_drift
from rope_compat._facts.function_names import NAMES
from rope_compat._patching.references import namespace
from rope_compat._report.examination import Drift, Functions

__all__ = ["compare", "live"]


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
    release = _release(version)
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


def _gone(version: str, release: str, found: Found, failed: set[str]) -> list[Drift]:
    if "transformers" in failed:
        return []
    return [
        Drift(
            f"{module}:{name}",
            f"this says {version} but {module}:{name} is not there; {release} had {expected}",
        )
        for module, name in catalog.functions(NAMES)
        if (module, name) not in found and module not in failed
        for expected in (catalog.signature_at(module, name, release),)
        if expected is not None
    ]


def _release(version: str | None) -> str | None:
    try:
        return catalog.release_for(version) if version is not None else None
    except InvalidVersion:
        return None
