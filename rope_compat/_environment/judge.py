"""From what is installed to a verdict and a list of problems."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from rope_compat import catalog
from rope_compat._environment.model import PackageInfo, Problem, Severity, Verdict
from rope_compat._environment.versions import parse_version, same_version
from rope_compat._facts.known_bad import KNOWN_BAD
from rope_compat._facts.known_bad_x_transformers import X_TRANSFORMERS_BAD, X_TRANSFORMERS_OLDEST

__all__ = ["judge"]


def judge(
    transformers: PackageInfo, peers: tuple[PackageInfo, ...], python: str
) -> tuple[Verdict, tuple[Problem, ...]]:
    """The verdict on an installation and its problems, the gravest first.

    ``peers`` are torch, accelerate, kernels and x-transformers; ``python`` is the interpreter's version.
    Nothing is looked up, so that any installation can be judged, not only the one at hand.
    """
    verdict, standing = _standing(transformers)
    other = next((peer for peer in peers if peer.name == "x-transformers" and peer.present), None)
    if other is not None:
        if [problem.code for problem in standing] == ["missing"]:
            verdict, standing = "supported", [_alone(other)]
        standing += _x_transformers(other)
    problems = [*standing, *_metadata_problems(transformers)]
    if transformers.present:
        problems += [*_known_bad(transformers, python), *_peer_problems(transformers, peers)]
    rank = {"fatal": 0, "warning": 1, "note": 2}
    return verdict, tuple(sorted(problems, key=lambda problem: rank[problem.severity]))


def _standing(found: PackageInfo) -> tuple[Verdict, list[Problem]]:
    oldest, newest = catalog.oldest_supported(), catalog.newest_supported()
    any_supported = f'pip install "transformers>={oldest},<={newest}"'
    if not found.present:
        return "unsupported", [_absent(found, any_supported)]
    if found.location is not None and found.location.endswith(".py"):
        message = f"import transformers finds the file {found.location}, not the transformers library"
        return "unsupported", [Problem("shadowed", "fatal", message, "rename that file")]
    version = parse_version(found.version) if found.version is not None else None
    if version is None:
        return "untested", [_unreadable(found, any_supported)]
    name = f"transformers {found.version}"
    if version < Version(oldest):
        message = f"{name} is too old: rope_compat works with {oldest} and later"
        return "unsupported", [Problem("too-old", "fatal", message, any_supported)]
    if found.kind == "development":
        return "development", [_development(found, version)]
    if found.kind == "pre-release":
        message = (
            f"{name} is a pre-release of {version.base_version}, which rope_compat has not been tested with"
        )
        return "untested", [Problem("pre-release", "warning", message, any_supported)]
    public = Version(version.public)
    if public > Version(newest):
        message = (
            f"{name} is newer than {newest}, the newest release that this rope_compat has been tested with"
        )
        remedy = f"pip install --upgrade rope_compat, or {any_supported}"
        return "untested", [Problem("newer-than-known", "warning", message, remedy)]
    if public not in _releases():
        message = f"{name} is none of the releases on the package index (it was withdrawn, or it is a fork)"
        return "untested", [Problem("unlisted", "warning", message, any_supported)]
    return "supported", _source_install(found)


def _absent(found: PackageInfo, remedy: str) -> Problem:
    if found.metadata_version is not None:
        message = (
            f"transformers {found.metadata_version} is listed as installed in {found.metadata_location}, "
            "but there is no package to import"
        )
        remedy = f'pip install --force-reinstall --no-deps "transformers=={found.metadata_version}"'
        return Problem("broken-install", "fatal", message, remedy)
    if found.location is not None:
        message = f"transformers is not installed: {found.location} is a directory without __init__.py"
        return Problem("broken-install", "fatal", message, f"remove that directory and {remedy}")
    return Problem("missing", "fatal", "transformers is not installed", remedy)


def _alone(other: PackageInfo) -> Problem:
    message = f"transformers is not installed; {other.name} {other.version} is, and is adapted"
    return Problem("without-transformers", "note", message, "nothing to do, unless models of it are to run")


def _x_transformers(found: PackageInfo) -> list[Problem]:
    version = parse_version(found.version) if found.version is not None else None
    if version is None:
        return []
    if version < Version(X_TRANSFORMERS_OLDEST):
        oldest = X_TRANSFORMERS_OLDEST
        message = f"x-transformers {version} is too old: rope_compat works with {oldest} and later"
        return [Problem("x-transformers-too-old", "note", message, f'pip install "x-transformers>={oldest}"')]
    return [
        Problem(fact.code, fact.severity, f"x-transformers {version}: {fact.message}", fact.remedy)
        for fact in X_TRANSFORMERS_BAD
        if _within(version, fact.releases)
    ]


def _unreadable(found: PackageInfo, remedy: str) -> Problem:
    if found.version is None:
        return Problem("no-version", "warning", f"transformers in {found.location} states no version", remedy)
    message = (
        f"the version {found.version!r} of transformers is not a PEP 440 version, so no release is assumed"
    )
    return Problem("unreadable-version", "warning", message, remedy)


def _development(found: PackageInfo, version: Version) -> Problem:
    base, newest = version.base_version, catalog.newest_supported()
    source = f" ({_source(found)})" if _source(found) else ""
    message = (
        f"transformers {found.version} is a development build{source}: it is older than {base}, and two "
        "builds of that version may hold different code"
    )
    release = base if Version(base) in _releases() else newest
    remedy = f'each function is judged by its signature; to be sure, pip install "transformers=={release}"'
    return Problem("development-build", "warning", message, remedy)


def _source_install(found: PackageInfo) -> list[Problem]:
    source = _source(found)
    if not source:
        return []
    message = f"transformers {found.version} was installed from source ({source}), not as that release"
    remedy = "nothing to do: each function is judged by its signature"
    return [Problem("source-install", "note", message, remedy)]


def _source(found: PackageInfo) -> str:
    origin = None if found.metadata_is_elsewhere else found.direct_url
    if origin is None or (origin.vcs is None and origin.directory is None):
        return ""
    commit = f" at {origin.commit}" if origin.commit else ""
    return f"{'editable, ' if origin.editable else ''}{origin.url}{commit}"


def _metadata_problems(found: PackageInfo) -> Iterator[Problem]:
    if found.other_metadata_versions:
        listed = ", ".join((str(found.metadata_version), *found.other_metadata_versions))
        message = f"transformers has more than one metadata directory, for {listed}"
        remedy = "run pip uninstall -y transformers until nothing is left to uninstall, then install once"
        yield Problem("several-metadata", "warning", message, remedy)
    if not found.present or found.metadata_version is None:
        return
    code, metadata = found.code_version, found.metadata_version
    if code is not None and not same_version(code, metadata):
        message = f"transformers says {code} in its code ({found.location}), but its metadata says {metadata}"
        remedy = "what runs is the code; install it anew, and take other copies off sys.path (PYTHONPATH)"
        yield Problem("version-mismatch", "warning", message, remedy)
    elif found.metadata_is_elsewhere:
        installed = f"the copy installed in {found.metadata_location}"
        message = f"transformers is imported from {found.location}, not from {installed}"
        remedy = "if that is not meant, take it off sys.path (PYTHONPATH)"
        yield Problem("other-copy", "note", message, remedy)


def _known_bad(found: PackageInfo, python: str) -> Iterator[Problem]:
    version = parse_version(found.version) if found.version is not None else None
    if version is None:
        return
    for fact in KNOWN_BAD:
        if _within(version, fact.releases) and _within(Version(python), fact.python):
            message = f"transformers {found.version}: {fact.message}"
            yield Problem(fact.code, fact.severity, message, fact.remedy)


def _peer_problems(found: PackageInfo, peers: tuple[PackageInfo, ...]) -> Iterator[Problem]:
    for peer in peers:
        if peer.name == "torch" and not peer.present:
            message = "torch is not installed: no model can run"
            yield Problem("torch-missing", "note", message, "install torch")
        wanted = found.wants.get(peer.name)
        version = parse_version(peer.version) if peer.present and peer.version is not None else None
        if wanted is None or version is None or found.metadata_is_elsewhere:
            continue
        try:
            fits = _within(version, wanted)
        except InvalidSpecifier:
            continue  # metadata that pip would refuse; nothing can be said about it
        if not fits:
            # transformers does without an accelerate or kernels that does not suit it, but not without torch.
            severity: Severity = "warning" if peer.name == "torch" else "note"
            asked, there = f"{peer.name}{wanted}", f"{peer.name} {peer.version}"
            message = f"transformers {found.version} asks for {asked}, but {there} is installed"
            yield Problem(f"{peer.name}-version", severity, message, f'pip install "{asked}"')


def _within(version: Version, specifier: str) -> bool:
    # Pre-releases count as what they are in the order of versions; by default PEP 440 would leave them out.
    return not specifier or _specifiers(specifier).contains(version, prereleases=True)


@functools.lru_cache(maxsize=64)
def _specifiers(text: str) -> SpecifierSet:
    return SpecifierSet(text)


@functools.lru_cache(maxsize=1)
def _releases() -> frozenset[Version]:
    return frozenset(map(Version, catalog.releases()))
