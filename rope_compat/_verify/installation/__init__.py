"""Verify the installed rotary functions and classes against exact results."""
