"""What each parameter of an unknown function may be: by its name, or by its place where that says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Literal, TypeAlias

from .._adapters.functions.signature import live_signature

__all__ = ["Role", "Roles", "flags", "possible_roles"]

Role: TypeAlias = Literal[
    "x", "first", "second", "first of k", "second of k", "table", "positions", "offset", "sections", "axis"
]

_NAMES: dict[Role, str] = {
    "x": "q k v query key value xq xk xv x t tensor hidden_states states input inputs query_layer key_layer "
    "value_layer query_states key_states q_ k_ queries keys xq_ xk_ tensor_ u feats",
    "first": "cos freqs_cos cos_cached cos_emb emb_cos rope_cos cos_ cosine cos_table",
    "second": "sin freqs_sin sin_cached sin_emb emb_sin rope_sin sin_ sine sin_table",
    "first of k": "cos_k k_cos",
    "second of k": "sin_k k_sin",
    "table": "freqs freqs_cis freqs_ci rotary_pos_emb rope_cache rotary_emb emb pos_emb sinusoidal_pos pe "
    "cis freqs_complex position_embeddings image_rotary_emb cos_sin_cache cos_sin rotary rope freq "
    "freqs_cis_img pos grid_freqs rot embedding",
    "positions": "position_ids positions pos input_pos position pos_ids cache_position indexes "
    "token_positions",
    "offset": "offset start_pos position_offset seqlen_offset seqlen_offsets start_index",
    "sections": "mrope_section",
    "axis": "unsqueeze_dim",
}
_TABLES = ("first", "second", "first of k", "second of k", "table")
_UNKNOWN: list[Role] = ["x", "table", "first", "second", "positions"]
_MOST = 40  # assignments that are tried; parameters with names that say nothing have many

#: For ``(*args)`` and functions of C: the widespread orders.
_WITHOUT_NAMES: tuple[tuple[Role, ...], ...] = (
    ("x",),
    ("x", "table"),
    ("x", "positions"),
    ("x", "first", "second"),
    ("x", "x", "table"),
    ("x", "x", "positions"),
    ("x", "x", "first", "second"),
    ("x", "x", "first", "second", "positions"),
    ("x", "x", "x", "first", "second"),
)


@dataclass(frozen=True)
class Roles:
    """One reading of a signature.

    Attributes:
        given: parameter names with their roles, in order, of those that every call gets.
        optional: those that a call may get: positions, offset and axis that have a default.
        by_place: whether arguments have to be passed by position.
    """

    given: tuple[tuple[str, Role], ...]
    optional: tuple[tuple[str, Role], ...] = ()
    by_place: bool = False

    def names(self, role: Role) -> tuple[str, ...]:
        """The parameters that have this role in every call."""
        return tuple(name for name, each in self.given if each == role)

    def may(self, role: Role) -> tuple[str, ...]:
        """The parameters that have this role in a call that passes them."""
        return tuple(name for name, each in self.optional if each == role)


def possible_roles(function: Callable[..., Any]) -> list[Roles]:
    """Every reading of the signature that makes sense, most likely first; nothing is called."""
    signature = live_signature(function)
    every = [] if signature is None else list(signature.parameters.values())
    named = [p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    required = [p for p in named if p.default is p.empty]
    if not named or (not required and any(p.kind is p.VAR_POSITIONAL for p in every)):
        return [
            Roles(tuple((f"argument {i}", role) for i, role in enumerate(order)), (), True)
            for order in _WITHOUT_NAMES
        ]
    choices: list[list[Role]] = []
    names, optional = [], []
    for place, parameter in enumerate(named):
        roles = [role for role, known in _NAMES.items() if parameter.name in known.split()]
        if parameter.default is parameter.empty:
            names.append(parameter.name)
            choices.append(roles or (["x"] if place == 0 and len(required) > 1 else _UNKNOWN))
        elif parameter.default is None and roles and roles[0] in ("x", *_TABLES) and "positions" not in roles:
            names.append(parameter.name)
            choices.append(roles)
        else:
            optional += [(parameter.name, role) for role in roles if role in ("positions", "offset", "axis")]
    by_place = any(p.kind is p.POSITIONAL_ONLY for p in named)
    found = (
        Roles(tuple(zip(names, roles, strict=True)), tuple(optional), by_place)
        for roles in product(*choices)
        if _makes_sense(roles)
    )
    # What has both cos and sin first: it answers at once or not at all.
    return sorted(islice(found, _MOST), key=lambda roles: not roles.names("first"))


def _makes_sense(roles: tuple[Role, ...]) -> bool:
    if not 1 <= roles.count("x") <= 3 or any(roles.count(role) > 1 for role in roles if role != "x"):
        return False
    return ("first" in roles) == ("second" in roles) and not ("table" in roles and "first" in roles)


def flags(function: Callable[..., Any]) -> Iterator[tuple[str, bool]]:
    """Options that are true or false, with the value that they have not by default."""
    signature = live_signature(function)
    for parameter in () if signature is None else signature.parameters.values():
        if isinstance(parameter.default, bool):
            yield parameter.name, not parameter.default
