"""Functions of LLMs-from-scratch, in every form that they have had."""
