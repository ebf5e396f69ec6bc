"""The rotary embeddings of a configuration and of the configurations inside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._facts.config_fields import ALL_FIELDS, DICTS
from .reading import plain_fields, thetas
from .spec import RopeSpec

__all__ = ["has_rope", "rope_specs", "sub_configs"]


def rope_specs(config: Any) -> dict[str, RopeSpec]:
    """The specification of a configuration and of each one inside it, by path.

    The path of the configuration itself is empty, others are like ``text_config`` or
    ``thinker_config.text_config``. Those that say nothing about a rotary embedding are left out.

    Raises:
        RopeConfigError: fields contradict each other; the message names the path.
    """
    return dict(_walk("", config, ()))


def has_rope(fields: Mapping[str, Any]) -> bool:
    """Whether the fields of a configuration say something about a rotary embedding."""
    return any(fields.get(name) is not None for name in ALL_FIELDS) or any(
        value is not None for _, value in thetas(fields)
    )


def sub_configs(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values of what may be a configuration inside another: objects, and dictionaries of fields."""
    for name, value in fields.items():
        if name in DICTS or not isinstance(name, str):
            continue
        if isinstance(value, Mapping) or hasattr(type(value), "model_type"):
            yield name, value


def _walk(path: str, config: Any, above: tuple[int, ...]) -> Iterator[tuple[str, RopeSpec]]:
    fields = plain_fields(config)
    if has_rope(fields):
        yield path, _read(path, config)
    inside = config if isinstance(config, Mapping) else getattr(config, "__dict__", {})
    for name, value in sub_configs(inside):
        if id(value) not in (*above, id(config)):
            yield from _walk(f"{path}.{name}" if path else name, value, (*above, id(config)))


def _read(path: str, config: Any) -> RopeSpec:
    from ..errors import RopeConfigError

    try:
        return RopeSpec.of(config)
    except RopeConfigError as error:
        if not path:
            raise
        raise RopeConfigError(f"{path}: {error}") from error
