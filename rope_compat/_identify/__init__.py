"""Identify what an unknown rotary function, module or model computes, by calling it."""
