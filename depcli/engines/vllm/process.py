"""Stock vLLM started as `dep` needs it, and ended with every process that it made, whatever ends ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

from depcli.errors import DepError, Incompatible, MissingDependency

# Of the device memory. What soft prompts take beside vLLM's own tensors lies in the rest: see `room_beside`.
_SHARE = 0.85
_MOST_BESIDE = 4 << 30
_QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "TORCH_CPP_LOG_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore::FutureWarning"}
# Waits for the end of its standard input, which our end brings about however we die; then ends those whom we could not.
_GUARD = 'trap "" INT TERM HUP; cat >/dev/null; kill -TERM "$@" 2>/dev/null; sleep 5; kill -KILL "$@" 2>/dev/null; exit 0'


def prepare_environment() -> None:
    """What vLLM reads when it is imported. Nothing is sent anywhere, nothing goes to standard output."""
    os.environ.update({"VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"})
    # A copy of a process with the store's threads would hang.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    os.environ["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


class VllmProcess:
    """A running vLLM: `core` is its LLMEngine. `folder` holds weights and tokenizer; `context` in positions.

    `more` are arguments of vllm.LLM that replace ours. Raises MissingDependency for a device that this vLLM is not built for,
    DepError when it does not start.
    """

    def __init__(self, folder: Path, *, context: int, device: str, exact: bool, tensor_parallel: int, more: dict):
        from vllm import LLM
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        _check_device(device, on_cpu)
        arguments = {
            "dtype": "float32" if exact or on_cpu else "bfloat16",
            "max_model_len": context,
            "seed": 0,
            "tensor_parallel_size": tensor_parallel,
            "gpu_memory_utilization": _SHARE,
            "enable_prompt_embeds": True,
            "use_tqdm_on_load": False,
            "generation_config": "vllm",
            "structured_outputs_config": {"backend": "guidance", "disable_any_whitespace": True},
            **(_on_cpu(context) if on_cpu else {}),
            **more,
        }
        if exact:  # vLLM attends in float32 with Triton, whose products are of TF32 unless told otherwise
            os.environ.setdefault("TRITON_F32_DEFAULT", "ieee")
        self._before_term = _end_properly_when_terminated()
        self._guard = None
        try:
            with warnings.catch_warnings(action="ignore"):  # of its own making
                self._llm = LLM(str(folder), **arguments)
        except (ValueError, RuntimeError, NotImplementedError, OSError) as error:
            self.end()
            raise _not_started(folder, error) from error
        except BaseException:
            self.end()
            raise
        self._guard = guarded(_children())
        self.core = self._llm.llm_engine
        self.dtype = self._llm.model_config.dtype
        self.room_beside = _MOST_BESIDE if on_cpu else _room_beside(current_platform)

    def end(self) -> None:
        """End vLLM and its processes. Twice is fine."""
        llm, self._llm = getattr(self, "_llm", None), None
        self.core = None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        if self._before_term is not None:
            signal.signal(signal.SIGTERM, self._before_term)
            self._before_term = None


def _on_cpu(context: int) -> dict:
    # In pieces a prompt is no use there, and a seeded request that is read so ends vLLM: its generators go back a step, which
    # those of a CPU cannot.
    return {"enforce_eager": True, "enable_chunked_prefill": False, "max_num_batched_tokens": max(context, 4096)}


def _room_beside(platform) -> int:
    """Bytes that soft prompts on their way may take: each lies whole on the device while it is written."""
    return min(_MOST_BESIDE, int(platform.get_device_total_memory() * (1 - _SHARE) / 2))


def _check_device(device: str, on_cpu: bool) -> None:
    if device == "auto" or (device == "cpu") == on_cpu:
        return
    built = "CPUs" if on_cpu else "GPUs"
    raise MissingDependency(f"this vLLM is built for {built}", "leave --device out, or use --engine transformers")


def _not_started(folder: Path, error: Exception) -> DepError:
    said = str(error).strip().splitlines()
    reason = said[0] if said else type(error).__name__
    if isinstance(error, ValueError) and "architecture" in reason:
        return Incompatible(f"vLLM cannot run the model in {folder}: {reason}", "use --engine transformers")
    return DepError(
        f"vLLM does not start with {folder}: {reason}",
        "what it says above has the cause; for memory: a smaller --backbone, or --tensor-parallel N over several GPUs",
    )


def _end_properly_when_terminated():
    """Let SIGTERM unwind the stack, so that `end` is called, where nobody has thought of that; what was there before."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None
    return signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _children() -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process().children(recursive=True)]


def guarded(processes: list[int]) -> subprocess.Popen | None:
    """A shell that ends these processes when ours is gone without a chance to do so: killed, or out of memory."""
    if not processes:
        return None
    command = ["sh", "-c", _GUARD, "guard", *map(str, processes)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
