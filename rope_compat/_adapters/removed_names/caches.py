"""Cache classes that were other names of `StaticCache` at last (4.54.0 to 4.57.6)."""

from __future__ import annotations

from typing import Any

__all__ = ["find"]


def find(module: str, name: str) -> Any:
    """A subclass of the installed `StaticCache`, constructed as the last releases constructed it."""
    from transformers.cache_utils import StaticCache

    def construct(self: Any, config: Any, max_cache_len: Any = None, *args: Any, **kwargs: Any) -> None:
        # Batch size, device and dtype are found when the first tokens come, since 4.54.0.
        StaticCache.__init__(self, config=config, max_cache_len=max_cache_len)

    return type(StaticCache)(name, (StaticCache,), {"__module__": module, "__init__": construct})
