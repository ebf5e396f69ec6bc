"""What `detect` returns: plain frozen records, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

from rope_compat._facts.known_bad import Severity

__all__ = ["DirectUrl", "Environment", "Kind", "PackageInfo", "Problem", "Severity", "Verdict"]

Kind = Literal["release", "pre-release", "development", "unreadable"]
Verdict = Literal["supported", "untested", "development", "unsupported"]


@dataclass(frozen=True)
class DirectUrl:
    """Where a package came from when not from an index: the ``direct_url.json`` of PEP 610.

    ``url`` has no user name, password or token in it, whatever the file says. ``directory`` is the local one
    of a ``file:`` URL that was installed from a directory.
    """

    url: str
    vcs: str | None = None
    commit: str | None = None
    requested_revision: str | None = None
    editable: bool = False
    directory: str | None = None
    subdirectory: str | None = None


@dataclass(frozen=True)
class PackageInfo:
    """One package, as installed.

    Attributes:
        present: whether it can be imported.
        version: the code's own ``__version__`` where it can be read and the metadata's otherwise: where the
            two disagree, the code is what runs.
        other_metadata_versions: versions in further metadata directories of the same name, in the order of
            ``sys.path``.
        metadata_is_elsewhere: the metadata describes another copy than the one that is imported (a checkout
            on ``PYTHONPATH``).
        loaded: the package has been imported already.
        location: the package's directory, or its file when it is a single module.
        build: of torch, what it was built for, as ``cuda 12.6``, ``hip 6.2`` or ``cpu``.
        wants: of transformers, the versions of python, torch, accelerate, kernels that its metadata asks for
            (PEP 440).
    """

    name: str
    present: bool
    version: str | None = None
    kind: Kind | None = None
    code_version: str | None = None
    metadata_version: str | None = None
    other_metadata_versions: tuple[str, ...] = ()
    metadata_is_elsewhere: bool = False
    loaded: bool = False
    location: str | None = None
    metadata_location: str | None = None
    direct_url: DirectUrl | None = None
    build: str | None = None
    wants: dict[str, str] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        """There is something of that name, but not a package that can be imported."""
        return not self.present and (self.metadata_version is not None or self.location is not None)


@dataclass(frozen=True)
class Problem:
    """Something that is known to be wrong or uncertain here.

    ``severity``: ``fatal``, rope_compat cannot make this work; ``warning``, worth telling at
    `rope_compat.patch`; ``note``, true of this release but of no matter to most programs (shown by
    ``rope-compat doctor``).
    """

    code: str
    severity: Severity
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}"


@dataclass(frozen=True)
class Environment:
    """What is installed, and what is known about it."""

    python: str
    transformers: PackageInfo
    torch: PackageInfo
    accelerate: PackageInfo
    kernels: PackageInfo
    flash_attn: PackageInfo
    verdict: Verdict
    problems: tuple[Problem, ...]
    x_transformers: PackageInfo = PackageInfo("x-transformers", present=False)

    @property
    def packages(self) -> tuple[PackageInfo, ...]:
        """All packages, transformers first; x-transformers, which few have beside it, where it is there."""
        found = (self.transformers, self.torch, self.accelerate, self.kernels, self.flash_attn)
        return (*found, self.x_transformers) if self.x_transformers.present else found

    def to_dict(self) -> dict[str, object]:
        """All of it as dicts, lists, strings, booleans and None, for JSON."""
        found = asdict(self)
        found["problems"] = list(found["problems"])
        for key in found:
            package = getattr(self, key)
            if isinstance(package, PackageInfo):
                found[key]["other_metadata_versions"] = list(package.other_metadata_versions)
        return found
