"""Backbones: the frozen language models that adapters are trained for and that engines run."""

from depcli.backbones.catalogue import NAMES, Backbone, find, served
from depcli.backbones.fetch import Download, gguf_file, needed, weights_folder
from depcli.backbones.fingerprint import fingerprint, recognise, weights_digest
from depcli.backbones.load import chat_of, load_model, load_tokenizer
from depcli.backbones.precision import load_in

__all__ = [
    "NAMES",
    "Backbone",
    "Download",
    "chat_of",
    "find",
    "fingerprint",
    "gguf_file",
    "load_in",
    "load_model",
    "load_tokenizer",
    "needed",
    "recognise",
    "served",
    "weights_digest",
    "weights_folder",
]
