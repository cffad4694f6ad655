"""Non-Perso: the item and what is asked, nothing of the user."""

from depcli.methods.base import Method

METHOD = Method("nonperso", "the item alone, nothing of the user", history=False)
