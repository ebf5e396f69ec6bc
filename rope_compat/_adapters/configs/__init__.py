"""Configuration classes that read and write RoPE fields in the style of 4.x and of 5.x."""
