"""The language models that explain. They are guests: what they say is checked (core/grounding.py) and decides nothing.

Built in bootstrap, and only when a model is configured: importing these modules takes most of a second."""
