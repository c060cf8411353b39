"""Soloist runs durable orchestrations on machines you own: one instance id, one instance."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("soloist")
except PackageNotFoundError:  # run straight from a source tree that nobody installed
    __version__ = "0+source"

__all__ = ["__version__"]
