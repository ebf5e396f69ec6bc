"""Names around ``ROPE_INIT_FUNCTIONS`` in transformers."""

from __future__ import annotations

__all__ = [
    "ADAPTED",
    "DEFAULT_NAME",
    "MODELING",
    "OF_CLASS",
    "PROPORTIONAL_NAME",
    "TABLE",
    "UPDATE_NAME",
    "UTILS",
]

UTILS = "transformers.modeling_rope_utils"
MODELING = "transformers.modeling_utils"
TABLE = "ROPE_INIT_FUNCTIONS"
DEFAULT_NAME = "_compute_default_rope_parameters"
PROPORTIONAL_NAME = "_compute_proportional_rope_parameters"
UPDATE_NAME = "dynamic_rope_update"
OF_CLASS = "compute_default_rope_parameters"

#: The library's functions that every release from 4.43.0 on has, and the types that they compute.
ADAPTED = {
    "_compute_linear_scaling_rope_parameters": "linear",
    "_compute_dynamic_ntk_parameters": "dynamic",
    "_compute_yarn_parameters": "yarn",
    "_compute_longrope_parameters": "longrope",
    "_compute_llama3_parameters": "llama3",
}
