"""The package's version, which outputs, journals and workers are known by."""

__version__ = "0.1.0"
