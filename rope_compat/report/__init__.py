"""One module per output. With `rope_compat.cli`, the only place that prints."""
