"""The engine `vllm`: stock vLLM in a process of its own, mixed prompts, and requests under way."""
