"""RAG: the past reviews as text."""

from depcli.methods.base import Method

METHOD = Method("rag", "the user's past reviews as text", history=True)
