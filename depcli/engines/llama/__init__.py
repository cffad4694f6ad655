"""The engine `llamacpp`: a GGUF, its memory over many prompts, soft tokens among text, and states kept for later processes."""
