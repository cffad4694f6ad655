"""How an engine uses the machine it runs on: what makes it faster or smaller, and at most touches the rounding of a text."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from depcli.errors import Incompatible

_FOR = {"parallel": "llamacpp", "threads": "llamacpp", "gpu_layers": "llamacpp", "kv_type": "llamacpp", "tensor_parallel": "vllm"}


@dataclass(frozen=True)
class Tuning:
    """What may be asked of an engine. llamacpp: `parallel` texts written side by side; `threads` at most, None for what
    OMP_NUM_THREADS or the machine says; `gpu_layers` of the backbone on a GPU, None for all where there is one; `kv_type` (f16,
    f32, q8_0) of its memory. vllm: `tensor_parallel` GPUs that share one backbone."""

    parallel: int = 1
    threads: int | None = None
    gpu_layers: int | None = None
    kv_type: str = "f16"
    tensor_parallel: int = 1

    def check(self, engine: str) -> None:
        """Raise Incompatible when something is asked for that another engine has."""
        for name, value in asdict(self).items():
            if value != getattr(USUAL, name) and _FOR[name] != engine:
                option = "--" + name.replace("_", "-")
                raise Incompatible(f"{option} is for the engine {_FOR[name]}, and {engine} writes", f"leave {option} out")

    def rounding(self, engine: str) -> dict:
        """What of it shows in the last bits of a text's numbers, and so now and then in a word and in all that follows it; None
        for engines without it."""
        shows = {"parallel": self.parallel, "kv_type": self.kv_type}
        return shows if engine == "llamacpp" else dict.fromkeys(shows)


USUAL = Tuning()
