"""The rope types: their names, what computes them, what they take, and which releases have them.

Upstream: ``ROPE_INIT_FUNCTIONS`` of ``transformers/modeling_rope_utils.py``, which 4.43.0 brought.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ALIASES",
    "BY_FUNCTION",
    "MODELING",
    "OF_CLASS",
    "ORIGINAL",
    "ROPE_TYPES",
    "TABLE",
    "UPDATE_NAME",
    "UTILS",
    "WITH_ORIGINAL",
    "RopeType",
]

#: Where the table and the functions are, who merges the table over classes' own functions (5.17.0), the
#: decorator of 4.51.0, and the function that rotary classes have from 5.0.0 on.
UTILS, MODELING = "transformers.modeling_rope_utils", "transformers.modeling_utils"
TABLE, UPDATE_NAME, OF_CLASS = "ROPE_INIT_FUNCTIONS", "dynamic_rope_update", "compute_default_rope_parameters"

#: The length of the original training: in the dictionary, or beside it (phi3).
ORIGINAL = "original_max_position_embeddings"


@dataclass(frozen=True, slots=True)
class RopeType:
    """One type.

    Attributes:
        function: what computes it in `modeling_rope_utils`.
        takes: parameters without which `rope_compat.rotary.frequencies` and `.exact` do not compute it.
        optional: keys of the dictionary that change the result where they are given.
        needed: keys that 5.x, ``validate_rope``, wants in the dictionary.
        is_declared: ``factor`` has to be given; otherwise it is the ratio of the lengths, or 1.
        by_numbers: what the function took in place of a config from 4.43.0 to 4.53.3; None if it took none.
        since: the first release whose table has it.
        until: the last one, None if it still has.
        aliases: names that it had.
    """

    function: str
    takes: tuple[str, ...]
    optional: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    is_declared: bool = False
    by_numbers: tuple[str, ...] | None = None
    since: str = "4.43.0"
    until: str | None = None
    aliases: tuple[str, ...] = ()


ROPE_TYPES: dict[str, RopeType] = {
    "default": RopeType(
        "_compute_default_rope_parameters",
        ("theta", "dim"),
        by_numbers=("dim", "base"),
        # From 5.0.0 on rotary classes compute it themselves.
        until="4.57.6",
        # Qwen2-VL's, which became `default` beside `mrope_section` in 4.45.
        aliases=("mrope",),
    ),
    "linear": RopeType(
        "_compute_linear_scaling_rope_parameters",
        ("theta", "dim", "factor"),
        needed=("factor",),
        is_declared=True,
        by_numbers=("dim", "base", "factor"),
    ),
    "dynamic": RopeType(
        "_compute_dynamic_ntk_parameters",
        ("theta", "dim", "factor", "max_position_embeddings", "seq_len"),
        needed=("factor",),
        is_declared=True,
        by_numbers=("dim", "base", "factor", "max_position_embeddings"),
    ),
    "yarn": RopeType(
        "_compute_yarn_parameters",
        ("theta", "dim", "factor", ORIGINAL),
        ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
        needed=("factor", ORIGINAL),
    ),
    "longrope": RopeType(
        "_compute_longrope_parameters",
        ("theta", "dim", "short_factor", "long_factor", ORIGINAL, "factor", "seq_len"),
        ("attention_factor",),
        needed=("short_factor", "long_factor", ORIGINAL),
        # Phi-3's of 4.41 and 4.42.
        aliases=("su",),
    ),
    "llama3": RopeType(
        "_compute_llama3_parameters",
        ("theta", "dim", "factor", "low_freq_factor", "high_freq_factor", ORIGINAL),
        needed=("factor", ORIGINAL, "low_freq_factor", "high_freq_factor"),
        is_declared=True,
    ),
    "proportional": RopeType(
        "_compute_proportional_rope_parameters",
        ("theta", "head_dim", "part", "factor"),
        needed=("rope_theta",),
        since="5.5.0",
    ),
}

#: Types by the names that they have had.
ALIASES = {alias: name for name, each in ROPE_TYPES.items() for alias in each.aliases}

#: Types whose computation needs the length of the original training; 5.x, standardize_rope_params.
WITH_ORIGINAL = tuple(name for name, each in ROPE_TYPES.items() if ORIGINAL in each.takes)

#: Types by the names of their functions.
BY_FUNCTION = {each.function: name for name, each in ROPE_TYPES.items()}
