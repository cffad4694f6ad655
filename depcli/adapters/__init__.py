"""What is trained: small modules that turn the slots of a prompt into soft tokens for a frozen backbone.

An adapter is an adapters.base.Adapter.
"""
