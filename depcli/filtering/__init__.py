"""Choosing among reviews before they are stored: rules, what they drop, and the stream without it."""
