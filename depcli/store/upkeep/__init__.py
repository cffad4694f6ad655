"""What keeps a store sound and small: checking, mending, forgetting, compacting and copying it."""
