"""Analysts: models that are asked for intermediate texts about a user, and the profiles that come of it."""
