"""Which names of transformers' source belong to rotary position embeddings.

Names are split into words, so that ``Europarl``, ``property`` and ``PreTrained`` are not taken for them.
"""

from __future__ import annotations

import functools
import itertools
import re

__all__ = [
    "HINT",
    "NOT_TORCH",
    "OTHER_TARGETS",
    "is_field_name",
    "is_function_name",
    "is_parameter_name",
    "is_rope_module",
    "is_rotary_name",
    "words",
]

#: A file without any of these has no targets. In bytes, as files are looked at before they are parsed.
HINT = re.compile(
    rb"rot(?:ary|atory|ate_|_pos)|rope|freqs|inv_freq|yarn|cos_sin|position_embeddings",
    re.IGNORECASE,
)
#: How files begin that are of TensorFlow or Flax, sources of other files, or convert checkpoints.
NOT_TORCH = ("modeling_tf_", "modeling_flax_", "modular_", "convert_")
#: What belongs to RoPE, but not by its name: the tables of GPT-J and CodeGen, Idefics' rotary class.
OTHER_TARGETS = frozenset(
    {
        "transformers.models.gptj.modeling_gptj:create_sinusoidal_positions",
        "transformers.models.codegen.modeling_codegen:create_sinusoidal_positions",
        "transformers.models.idefics.modeling_idefics:IdeficsEmbedding",
    }
)

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
# Words of several capitals that the pattern above would take apart.
_TOGETHER = (("RoPE", "Rope"), ("MRope", "Mrope"))
_ROPE = frozenset({"rotary", "rotatory", "rope", "mrope"})
_PAIRS = frozenset({("rot", "pos"), ("inv", "freq"), ("freqs", "ci"), ("freqs", "cis"), ("cos", "sin")})
_WHAT_IS_ROTATED = frozenset({"half", "every", "pairwise", "pairs", "queries", "interleaved", "interleave"})
_PARAMETERS = frozenset({"position_embeddings", "freqs_cis", "freqs_ci", "inv_freq", "rotary", "rope"})
_FIELDS = frozenset({"original_max_position_embeddings", "default_theta"})


@functools.lru_cache(maxsize=65536)
def words(name: str) -> tuple[str, ...]:
    """The words of an identifier in lower case: ``Qwen2VLRotaryEmbedding`` has ``rotary``."""
    for old, new in _TOGETHER:
        name = name.replace(old, new)
    return tuple(word.lower() for word in _WORD.findall(name))


@functools.lru_cache(maxsize=65536)
def is_rotary_name(name: str) -> bool:
    """Whether a class, method, mapping or attribute of this name belongs to RoPE, by its name alone."""
    found = words(name)
    return not (_ROPE.isdisjoint(found) and _PAIRS.isdisjoint(itertools.pairwise(found)))


@functools.lru_cache(maxsize=65536)
def is_function_name(name: str) -> bool:
    """Whether a function of this name belongs to RoPE: `rotate_half`, not ``rotate_checkpoints``."""
    found = words(name)
    if is_rotary_name(name) or "yarn" in found or "freqs" in found:
        return True
    return len(found) > 1 and found[0] == "rotate" and found[1] in _WHAT_IS_ROTATED


def is_parameter_name(name: str) -> bool:
    """Whether a parameter of this name carries something of RoPE: cos and sin, angles, a rotary module."""
    return name in _PARAMETERS or not _ROPE.isdisjoint(words(name))


def is_field_name(name: str) -> bool:
    """Whether a configuration's field of this name belongs to RoPE, in any spelling it has had."""
    return name in _FIELDS or not _ROPE.isdisjoint(words(name))


def is_rope_module(module: str) -> bool:
    """Whether everything in the module belongs to RoPE: ``modeling_rope_utils``."""
    last = words(module.rpartition(".")[2])
    return "rope" in last and "modeling" in last
