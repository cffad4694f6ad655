"""Whether a difference is one: intervals and tests, all pairs of methods, and groups of users."""
