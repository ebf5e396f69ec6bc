"""``ROPE_INIT_FUNCTIONS`` and what ``modeling_rope_utils`` has beside it, in every call form."""
