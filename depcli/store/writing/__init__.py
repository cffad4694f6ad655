"""What changes a store by reviews: from a reader over a batch to the one row that commits it."""
