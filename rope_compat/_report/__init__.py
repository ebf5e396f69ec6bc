"""What is printed: pages made of findings, and one module per output. With `rope_compat._cli`, the only place
that prints.
"""
