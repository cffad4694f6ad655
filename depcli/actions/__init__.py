"""What each command does, without the console: the parts brought together."""
