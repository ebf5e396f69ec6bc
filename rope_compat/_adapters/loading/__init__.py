"""Buffers that a constructor computed and a loader does not keep: compute them for real, remember, put back.

Knows torch and ``nn.Module``; which loaders there are, and when they call this, is in `rope_compat._rules`.
"""
