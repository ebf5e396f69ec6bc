"""Does a function look as it did in the release that the installed version claims to be?"""

from __future__ import annotations

from packaging.version import Version

from rope_compat import catalog
from rope_compat._environment.versions import kind_of, parse_version

__all__ = ["signature_drift"]


def signature_drift(
    module_name: str, function_name: str, live_signature_text: str, version: str
) -> str | None:
    """What is unexpected about a live function's signature, as one sentence; None when nothing is.

    ``live_signature_text`` is written as ``str(inspect.signature(f))`` gives it; annotations do not count.
    ``version`` is what the installed transformers calls itself. A release is compared with what its source
    had. Anything else (development build, pre-release, a release that the catalog does not know) is compared
    with the first known release from its number on, or the newest one; the sentence then also names the
    nearest releases that had the live signature. None as well for a function that no known release has, and
    for a version that cannot be read.
    """
    parsed = parse_version(version)
    if parsed is None or not catalog.spans(module_name, function_name):
        return None
    live = catalog.normalize(live_signature_text)
    expected_release = catalog.release_for(version)
    expected = catalog.signature_at(module_name, function_name, expected_release)
    if live == expected:
        return None
    target = f"{module_name}:{function_name}"
    had = f"{expected_release} had {expected if expected is not None else 'no such function'}"
    message = f"this says {version} but {target} takes {live}; {had}"
    if kind_of(version) == "release" and Version(parsed.public) == Version(expected_release):
        return message
    return f"{message}; {_fitting(module_name, function_name, live, expected_release)}"


def _fitting(module_name: str, function_name: str, live: str, release: str) -> str:
    nearest = catalog.nearest_releases(module_name, function_name, live, release)
    if not nearest:
        return "no known release had that signature"
    ranges = [span.first if span.first == span.last else f"{span.first} to {span.last}" for span in nearest]
    return f"releases with that signature: {', '.join(ranges)}"
