"""The contract of attention and decoder layers: what they are called with, and what they return.

Up to 4.47.1 attention owns its rotary module and computes cos and sin from ``position_ids``; from 4.48.0 on
the model owns it, and hands ``position_embeddings`` down. Nothing here imports transformers.
"""
