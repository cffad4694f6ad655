"""How what is bundled was made: the backbone `mini`, and the projection of the embedder `minilm+style`."""
