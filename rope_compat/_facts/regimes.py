"""Which numbers a release computes for a rope type: releases whose numbers are equal form a regime.

Read from the wheels, ``transformers/modeling_rope_utils.py`` and the rotary modules of
``models/llama/modeling_llama.py``; where a number first appears is held against the catalog by tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = ["DYNAMIC", "LONGROPE", "TABLED", "YARN", "as_version", "is_before", "regime"]

#: First release of each regime. 4.43.0: the declared factor, other keys ignored. 4.51.0: the original length
#: and mscale are read, and the ratio of the lengths takes the place of the factor. 4.55.0: truncate is read.
#: 4.56.0: the declared factor again. 5.0.0: an original length beside the dictionary counts as well.
YARN = ("4.43.0", "4.51.0", "4.55.0", "4.56.0", "5.0.0")

#: Llama-type models. 4.43.0: the long factors. 4.48.0: the short ones. 4.51.0: by the length of the text, the
#: original length being read beside the dictionary only. 5.0.0: in it as well, and a declared factor counts.
LONGROPE = ("4.43.0", "4.48.0", "4.51.0", "5.0.0")

#: What a module remembers of texts past the original length. 4.31.0: the table of the longest one, for good.
#: 4.38.0: the frequencies of the last one. 4.43.0: of the longest one until a short text comes. 5.0.0: as
#: 4.38.0. 5.13.0: as 4.43.0.
DYNAMIC = ("4.31.0", "4.38.0", "4.43.0", "5.0.0", "5.13.0")

#: Rotary classes kept tables of cos and sin, computed in fp32, up to the release before: since then a model
#: that is converted with ``model.to(torch.bfloat16)`` has its frequencies rounded.
TABLED = {
    "gpt_neox": "4.45.0",
    "llama": "4.38.0",
    "mistral": "4.42.0",
    "mixtral": "4.48.0",
    "phi": "4.45.0",
    "qwen2": "4.45.0",
}


def as_version(version: str | Version) -> Version | None:
    """The release that a version is or precedes; None where it cannot be read."""
    # Imported here: it takes long, and few programs ask.
    from packaging.version import InvalidVersion, Version

    try:
        return Version(Version(str(version)).base_version)
    except InvalidVersion:
        return None


def is_before(version: str | Version | None, first: str) -> bool:
    """Whether a version comes before the release `first`; an unknown one does not."""
    here, limit = None if version is None else as_version(version), as_version(first)
    return here is not None and limit is not None and here < limit


def regime(firsts: tuple[str, ...], version: str | Version | None) -> int | None:
    """The place in `firsts` of the regime of a release; None before the first one, or where it is unknown."""
    if version is None or as_version(version) is None:
        return None
    known = [place for place, first in enumerate(firsts) if not is_before(version, first)]
    return known[-1] if known else None
