"""The versions, in a module of their own so that every result can name them, remote code included."""

__version__ = "0.3.0"
"""Of the software."""

WEIGHTS_VERSION = "0.2.0"
"""Of the embedded weights: the software's version that they first came with."""
