"""The command line, one module per command. With `rope_compat.report`, the only place that prints."""
