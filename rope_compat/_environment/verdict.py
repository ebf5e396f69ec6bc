"""From what is installed to a verdict and a list of problems."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from rope_compat import catalog
from rope_compat._environment.model import Environment, PackageInfo, Problem, Severity, Verdict
from rope_compat._environment.packages import kind_of, parse_version, read_package, same_version
from rope_compat._facts.known_bad import KNOWN_BAD, KnownBad
from rope_compat._facts.known_bad_x_transformers import X_TRANSFORMERS_BAD, X_TRANSFORMERS_OLDEST

__all__ = ["detect", "judge", "signature_drift"]

_RANK = {"fatal": 0, "warning": 1, "note": 2}


def detect() -> Environment:
    """What is installed here, the verdict on it, and its problems.

    The verdict is ``"supported"`` (a release that rope_compat knows), ``"untested"`` (newer than any it
    knows, withdrawn, or a pre-release), ``"development"`` (a development build) or ``"unsupported"``
    (missing, broken, or older than 4.36). Where x-transformers is there and transformers is not, that is
    ``"supported"`` as well. Nothing is imported and nothing is kept: a second call looks again.
    """
    names = ("transformers", "torch", "accelerate", "kernels", "flash-attn", "x-transformers")
    transformers, torch, accelerate, kernels, flash_attn, x_transformers = (
        read_package(name, name.replace("-", "_")) for name in names
    )
    python = platform.python_version()
    verdict, problems = judge(transformers, (torch, accelerate, kernels, x_transformers), python.rstrip("+"))
    return Environment(
        python, transformers, torch, accelerate, kernels, flash_attn, verdict, problems, x_transformers
    )


def judge(
    transformers: PackageInfo, peers: tuple[PackageInfo, ...], python: str
) -> tuple[Verdict, tuple[Problem, ...]]:
    """The verdict on an installation and its problems, the gravest first.

    ``peers`` are torch, accelerate, kernels and x-transformers; ``python`` is the interpreter's version.
    Nothing is looked up, so that any installation can be judged, not only the one at hand.
    """
    verdict, problems = _standing(transformers)
    other = next((peer for peer in peers if peer.name == "x-transformers" and peer.present), None)
    if other is not None:
        if [problem.code for problem in problems] == ["missing"]:
            message = f"transformers is not installed; {other.name} {other.version} is, and is adapted"
            remedy = "nothing to do, unless models of it are to run"
            verdict, problems = "supported", [Problem("without-transformers", "note", message, remedy)]
        problems += _x_transformers(other)
    problems += _metadata_problems(transformers)
    if transformers.present:
        problems += [*_known_bad(transformers, KNOWN_BAD, python), *_peer_problems(transformers, peers)]
    return verdict, tuple(sorted(problems, key=lambda problem: _RANK[problem.severity]))


def _standing(found: PackageInfo) -> tuple[Verdict, list[Problem]]:
    oldest, newest = catalog.oldest_supported(), catalog.newest_supported()
    remedy = f'pip install "transformers>={oldest},<={newest}"'

    def told(verdict: Verdict, code: str, said: str, remedy: str = remedy) -> tuple[Verdict, list[Problem]]:
        severity: Severity = "fatal" if verdict == "unsupported" else "warning"
        return verdict, [Problem(code, severity, said, remedy)]

    if not found.present:
        return "unsupported", [_absent(found, remedy)]
    if found.location is not None and found.location.endswith(".py"):
        said = f"import transformers finds the file {found.location}, not the transformers library"
        return told("unsupported", "shadowed", said, "rename that file")
    if found.version is None:
        return told("untested", "no-version", f"transformers in {found.location} states no version")
    version = parse_version(found.version)
    if version is None:
        said = f"the version {found.version!r} of transformers is not a PEP 440 version"
        return told("untested", "unreadable-version", f"{said}, so no release is assumed")
    name = f"transformers {found.version}"
    if version < Version(oldest):
        return told("unsupported", "too-old", f"{name} is too old: rope_compat works with {oldest} and later")
    base, public = version.base_version, Version(version.public)
    if found.kind == "development":
        said = f"{name} is a development build{_source(found, ' ({})')}: it is older than {base}, and two "
        release = base if Version(base) in _releases() else newest
        install = f'pip install "transformers=={release}"'
        return told(
            "development",
            "development-build",
            f"{said}builds of that version may hold different code",
            f"each function is judged by its signature; to be sure, {install}",
        )
    if found.kind == "pre-release":
        said = f"{name} is a pre-release of {base}, which rope_compat has not been tested with"
        return told("untested", "pre-release", said)
    if public > Version(newest):
        said = f"{name} is newer than {newest}, the newest release that this rope_compat has been tested with"
        return told("untested", "newer-than-known", said, f"pip install --upgrade rope_compat, or {remedy}")
    if public not in _releases():
        said = f"{name} is none of the releases on the package index (it was withdrawn, or it is a fork)"
        return told("untested", "unlisted", said)
    source = _source(found, "{}")
    said = f"{name} was installed from source ({source}), not as that release"
    as_it_is = "nothing to do: each function is judged by its signature"
    return "supported", [Problem("source-install", "note", said, as_it_is)] if source else []


def _absent(found: PackageInfo, remedy: str) -> Problem:
    if found.metadata_version is not None:
        said = (
            f"transformers {found.metadata_version} is listed as installed in {found.metadata_location}, "
            "but there is no package to import"
        )
        remedy = f'pip install --force-reinstall --no-deps "transformers=={found.metadata_version}"'
        return Problem("broken-install", "fatal", said, remedy)
    if found.location is not None:
        said = f"transformers is not installed: {found.location} is a directory without __init__.py"
        return Problem("broken-install", "fatal", said, f"remove that directory and {remedy}")
    return Problem("missing", "fatal", "transformers is not installed", remedy)


def _source(found: PackageInfo, text: str) -> str:
    """Where a source installation came from, in a text; empty for what is from an index."""
    origin = None if found.metadata_is_elsewhere else found.direct_url
    if origin is None or (origin.vcs is None and origin.directory is None):
        return ""
    commit = f" at {origin.commit}" if origin.commit else ""
    return text.format(f"{'editable, ' if origin.editable else ''}{origin.url}{commit}")


def _x_transformers(found: PackageInfo) -> Iterator[Problem]:
    version, oldest = parse_version(found.version), X_TRANSFORMERS_OLDEST
    if version is not None and version < Version(oldest):
        said = f"x-transformers {version} is too old: rope_compat works with {oldest} and later"
        yield Problem("x-transformers-too-old", "note", said, f'pip install "x-transformers>={oldest}"')
    else:
        yield from _known_bad(found, X_TRANSFORMERS_BAD, "")


def _metadata_problems(found: PackageInfo) -> Iterator[Problem]:
    if found.other_metadata_versions:
        listed = ", ".join((str(found.metadata_version), *found.other_metadata_versions))
        said = f"transformers has more than one metadata directory, for {listed}"
        remedy = "run pip uninstall -y transformers until nothing is left to uninstall, then install once"
        yield Problem("several-metadata", "warning", said, remedy)
    if not found.present or found.metadata_version is None:
        return
    code, metadata = found.code_version, found.metadata_version
    if code is not None and not same_version(code, metadata):
        said = f"transformers says {code} in its code ({found.location}), but its metadata says {metadata}"
        remedy = "what runs is the code; install it anew, and take other copies off sys.path (PYTHONPATH)"
        yield Problem("version-mismatch", "warning", said, remedy)
    elif found.metadata_is_elsewhere:
        installed = f"the copy installed in {found.metadata_location}"
        said = f"transformers is imported from {found.location}, not from {installed}"
        yield Problem("other-copy", "note", said, "if that is not meant, take it off sys.path (PYTHONPATH)")


def _known_bad(found: PackageInfo, facts: tuple[KnownBad, ...], python: str) -> Iterator[Problem]:
    version = parse_version(found.version)
    for fact in facts if version is not None else ():
        if _within(version, fact.releases) and (not fact.python or _within(Version(python), fact.python)):
            yield Problem(
                fact.code, fact.severity, f"{found.name} {found.version}: {fact.message}", fact.remedy
            )


def _peer_problems(found: PackageInfo, peers: tuple[PackageInfo, ...]) -> Iterator[Problem]:
    for peer in peers:
        if peer.name == "torch" and not peer.present:
            yield Problem(
                "torch-missing", "note", "torch is not installed: no model can run", "install torch"
            )
        wanted = found.wants.get(peer.name)
        version = parse_version(peer.version) if peer.present else None
        if wanted is None or version is None or found.metadata_is_elsewhere:
            continue
        try:
            fits = _within(version, wanted)
        except InvalidSpecifier:
            continue  # metadata that pip would refuse; nothing can be said about it
        if not fits:
            # transformers does without an accelerate or kernels that does not suit it, but not without torch.
            severity: Severity = "warning" if peer.name == "torch" else "note"
            asked = f"{peer.name}{wanted}"
            said = (
                f"transformers {found.version} asks for {asked}, but {peer.name} {peer.version} is installed"
            )
            yield Problem(f"{peer.name}-version", severity, said, f'pip install "{asked}"')


def _within(version: Version | None, specifier: str) -> bool:
    # Pre-releases count as what they are in the order of versions; by default PEP 440 would leave them out.
    return version is not None and _specifiers(specifier).contains(version, prereleases=True)


@functools.lru_cache(maxsize=64)
def _specifiers(text: str) -> SpecifierSet:
    return SpecifierSet(text)


@functools.lru_cache(maxsize=1)
def _releases() -> frozenset[Version]:
    return frozenset(map(Version, catalog.releases()))


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
    release = catalog.release_for(version)
    expected = catalog.signature_at(module_name, function_name, release)
    if live == expected:
        return None
    had = f"{release} had {expected if expected is not None else 'no such function'}"
    message = f"this says {version} but {module_name}:{function_name} takes {live}; {had}"
    if kind_of(version) == "release" and Version(parsed.public) == Version(release):
        return message
    nearest = catalog.nearest_releases(module_name, function_name, live, release)
    if not nearest:
        return f"{message}; no known release had that signature"
    ranges = [span.first if span.first == span.last else f"{span.first} to {span.last}" for span in nearest]
    return f"{message}; releases with that signature: {', '.join(ranges)}"
