"""The software's version, in a module of its own so that every result can name it, remote code included."""

__version__ = "0.2.0"
