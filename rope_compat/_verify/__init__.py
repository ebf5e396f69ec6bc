"""Whether rotary numbers are right, and what rotary code computes."""
