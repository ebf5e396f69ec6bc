"""Tests on the real releases of LLMs-from-scratch, in the environment called llms; see tox.ini."""
