"""Whether one specification says all that another says."""

from __future__ import annotations

from typing import Any

from rope_compat.configs import RopeSpec


def not_said(wanted: RopeSpec, given: RopeSpec) -> list[str]:
    """What `wanted` says and `given` does not, or says otherwise; empty if nothing.

    `given` may say more: a class has defaults, and 5.x writes down a length that older files leave out. A
    rotated part of 1.0 is the whole head, which is what saying nothing about it means.
    """
    names = {*wanted.layers, *given.layers} or {""}
    found = []
    for name in sorted(names):
        first, second = _said(wanted, name), _said(given, name)
        found += [f"{name} {key}={first[key]!r}".strip() for key in first if second.get(key) != first[key]]
    return found


def _said(spec: RopeSpec, name: str) -> dict[str, Any]:
    if spec.layers and spec.layers.get(name) is None:
        return {}
    said = spec.for_layer(name or None).rope_parameters()
    return {key: value for key, value in said.items() if key != "partial_rotary_factor" or value != 1.0}
