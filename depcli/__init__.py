"""Difference-aware embedding-based personalization: reviews in a person's voice from a frozen language model."""

__version__ = "0.1.0"
