"""Small helpers that know neither torch nor transformers."""
