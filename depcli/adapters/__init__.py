"""What is trained: small modules that turn the slots of a prompt into soft tokens for a frozen backbone.

An adapter is a torch module with `type` (the name of its method), `make(options, d=, hidden=, token_norm=)` and
`from_config(shape)` to build one, `config()` to write its shape down, `forward(slots) -> (rows (S, H), seen)`, and
`penalty(seen, weights) -> (what is added to the generation loss or None, terms to report)`.
"""
