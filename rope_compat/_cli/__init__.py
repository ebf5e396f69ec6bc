"""The command line, one module per command. With `rope_compat._report`, the only place that prints."""
