"""Verify a model: its rotary embeddings against its config, then its attention, by running it."""
