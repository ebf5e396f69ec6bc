"""The config bridge: fields that moved into `rope_parameters` in 5.0 can be read and written where they were.

What it puts on the classes is in `config_bridge`, `config_construction` and `config_views`: they are loaded
when transformers' configs are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from .._patching.edits import Assign, Edit, Resolve, Rule
from .._patching.references import namespace
from .options import Options
from .rule import ModuleRule, giving
from .shim import Shim

__all__ = ["SHIMS", "rules"]

_BASE = "transformers.configuration_utils"
_MODELS = "transformers.models."

FIELDS = Shim(
    name="config-fields",
    kind="adapt",
    targets=tuple(
        f"{_BASE}:PreTrainedConfig.{name}" for name in ("rope_theta", "partial_rotary_factor", "rope_scaling")
    ),
    why=(
        "rope_theta, rope_scaling, partial_rotary_factor are in rope_parameters: reading rope_theta raises, "
        "getattr(config, 'rope_theta', 10000.0) is 10000.0 whatever the model has, writing it is ignored, "
        "config.rope_scaling is never None, has no 'type', and loses theta when it is assigned"
    ),
    since="5.0.0",
    until=None,
    upstream="src/transformers/configuration_utils.py and modeling_rope_utils.py at 5.0.0",
    helps="remote code, trainers and inference engines that read or write a config's RoPE fields",
)

SPELLINGS = Shim(
    name="config-field-spellings",
    kind="adapt",
    targets=(
        f"{_MODELS}gpt_neox.configuration_gpt_neox:GPTNeoXConfig.rotary_emb_base",
        f"{_MODELS}gpt_neox.configuration_gpt_neox:GPTNeoXConfig.rotary_pct",
        f"{_MODELS}gpt_neox_japanese.configuration_gpt_neox_japanese:GPTNeoXJapaneseConfig.rotary_emb_base",
        f"{_MODELS}gpt_neox_japanese.configuration_gpt_neox_japanese:GPTNeoXJapaneseConfig.rotary_pct",
        f"{_MODELS}gemma3.configuration_gemma3:Gemma3TextConfig.rope_local_base_freq",
        f"{_MODELS}gemma3n.configuration_gemma3n:Gemma3nTextConfig.rope_local_base_freq",
        f"{_MODELS}modernbert.configuration_modernbert:ModernBertConfig.global_rope_theta",
        f"{_MODELS}modernbert.configuration_modernbert:ModernBertConfig.local_rope_theta",
        f"{_MODELS}modernbert_decoder.configuration_modernbert_decoder:ModernBertDecoderConfig.global_rope_theta",
        f"{_MODELS}modernbert_decoder.configuration_modernbert_decoder:ModernBertDecoderConfig.local_rope_theta",
    ),
    why="the names that single models had for theta and for the rotated part of a head are gone as well",
    since="5.0.0",
    until=None,
    upstream="src/transformers/models/*/configuration_*.py at 5.0.0, convert_rope_params_to_dict",
    helps="code that reads or writes these fields of GPT-NeoX, Gemma 3 and ModernBERT",
)

SHIMS = (FIELDS, SPELLINGS)


def rules(options: Options) -> list[Rule]:
    """The rules for the config bridge."""
    return [
        ModuleRule(FIELDS, _BASE, _base_edits),
        ModuleRule(
            SPELLINGS,
            lambda name: name.startswith(_MODELS) and ".configuration_" in name,
            _spelling_edits,
            lasting=True,
        ),
    ]


def _base_edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
    config = namespace(module).get("PreTrainedConfig")
    # 5.0: RotaryEmbeddingConfigMixin puts the fields into `rope_parameters`. 4.x has no such method.
    convert = getattr(config, "convert_rope_params_to_dict", None)
    if not isinstance(config, type) or convert is None:
        return
    from .._adapters.configs import construction, fields, files

    if construction.is_ours(convert):
        return
    for field in fields.BASE_FIELDS:
        if fields.is_free(config, field.name):
            yield _assign(FIELDS.name, config, field.name, giving(field), "reads and writes rope_parameters")
    native = vars(config).get("rope_scaling")
    yield _assign(
        FIELDS.name,
        config,
        "rope_scaling",
        lambda: fields.scaling_property(native if isinstance(native, property) else None),
        "as in 4.x: None, or a dictionary with type and rope_type",
    )
    # 5.4: configs are dataclasses, and what the base class does is in `__post_init__`.
    hook = "__post_init__" if "__post_init__" in vars(config) else "__init__"
    constructor = vars(config)[hook]
    yield _assign(
        FIELDS.name,
        config,
        hook,
        lambda: construction.base_of_5(constructor),
        "tells what is still being constructed",
    )
    reader = vars(config)["from_dict"].__func__
    yield _assign(
        FIELDS.name,
        config,
        "from_dict",
        lambda: classmethod(files.reading(reader, is_5=True)),
        "custom classes of 4.x get their fields",
    )


def _spelling_edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
    for config in list(namespace(module).values()):
        if not isinstance(config, type) or config.__module__ != module.__name__:
            continue
        # The class itself says which of its former names it takes: they are constants of this method.
        method = vars(config).get("convert_rope_params_to_dict")
        names = getattr(getattr(method, "__code__", None), "co_consts", ())
        if not names:
            continue
        from .._adapters.configs.fields import MODEL_FIELDS, is_free

        for field in MODEL_FIELDS:
            if field.name in names and is_free(config, field.name):
                yield _assign(SPELLINGS.name, config, field.name, giving(field), f"means {field.place}")


def _assign(rule: str, owner: Any, name: str, make: Callable[[], object], detail: str) -> Assign:
    target = f"{owner.__module__}:{owner.__name__}.{name}"
    return Assign(target, owner, name, make, (rule, name), rule, detail)
