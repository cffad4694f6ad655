"""A frozen backbone that lies in parts with all workers, for one that no single device holds.

Each piece (a decoder layer, the embeddings, the head) is made whole when a pass comes to it, forward and again backward, and
given up for the next one. PyTorch's fully_shard keeps the parts and brings them together, which all workers must do at the same
time. Its own hooks would need all to make the same passes; but who has fewer reviews makes fewer, and who runs out of memory
leaves one in its middle. So pieces are asked for here: before each, all say what they need next, the earliest is brought together
by all, and whoever needed another, or nothing more, goes on asking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import nn

from depcli.backbones.passes import layers_of
from depcli.errors import Incompatible
from depcli.training.workers import Weights, together

_FAILED, _NOTHING = -1, 1 << 40  # said instead of a step


class PassGivenUp(RuntimeError):
    """Another worker ran out of memory in its pass, so that all give up theirs."""


class Shards(Weights):
    """The pieces of `model`, in the order of their use: steps 0 to n - 1 of a pass, backward n to 2n - 1.

    What is whole, and what is on its way, is the same on all workers at any moment that they agree on.
    """

    def __init__(self, model, place: Callable[[nn.Module], None], device: torch.device):
        """`place` puts the whole weights of a module on the device, the same on all workers. Raises Incompatible, WorkerLost."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        used = _in_order_of_use(model)
        table, head = used[0], used[-1]
        tied = table.weight is head.weight
        groups = [[table, head] if tied else [table], *([layer] for layer in used[1:-1]), *([] if tied else [[head]])]
        step_of = {id(parameter): step for step, module in reversed([*enumerate(used)]) for parameter in module.parameters()}
        self._step_of = {name: step_of.get(id(parameter)) for name, parameter in model.named_parameters()}
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        pieces, sizes = [], []
        for group in groups:
            place(holder := nn.Sequential(*group))  # nobody calls it: its modules are called where they stand in the model
            sizes.append(sum(parameter.nbytes for parameter in holder.parameters()))
            pieces.append(fully_shard(holder, mesh=mesh))
        place(model)  # what belongs to no piece stays whole
        self._pieces = [pieces[0] if tied and module is head else pieces[i] for i, module in enumerate(used)]
        self._layers = pieces[1 : len(used) - 1]
        self._whole = self._coming = self._owed = None
        self.working_memory = 2 * max(sizes)  # bytes: a piece as it arrives and in its place, or with the one on its way
        for step, module in enumerate(used):
            module.register_forward_pre_hook(partial(self._before, step))
            module.register_forward_hook(partial(self._after, 2 * len(used) - 1 - step))

    def hold(self, step: int) -> None:
        """Return once the piece of this step is whole here. Raises PassGivenUp, WorkerLost."""
        while self._whole is not self._piece(step):
            self._serve(_lowest(step))

    def hold_parameter(self, name: str) -> None:
        """The same for the piece with this parameter. All workers ask for the same ones."""
        if self._step_of[name] is not None:
            self.hold(self._step_of[name])

    def finish(self) -> None:
        """Serve the others until nobody needs anything more: where all meet. Raises PassGivenUp, WorkerLost."""
        while (step := _lowest(_NOTHING)) != _NOTHING:
            self._serve(step)

    def fail(self) -> None:
        """Make all give up their passes, because this worker has run out of memory and freed what its pass held."""
        if self._owed is not None:
            self._gather(self._owed)  # the others wait for its part
            self._owed = None
        _lowest(_FAILED)

    def _serve(self, step: int) -> None:
        if step == _FAILED:
            raise PassGivenUp("another worker ran out of memory")
        self._owed = step
        self._gather(step)
        self._owed = None

    @torch.inference_mode(False)  # tensors made in it could not be filled again outside
    @torch.no_grad()
    def _gather(self, step: int) -> None:
        """Bring the piece of this step together, and set out for the layer after it. Done again after a failure, it goes on."""
        piece = self._piece(step)
        following = self._piece(step + 1) if step + 1 < 2 * len(self._pieces) else None
        following = following if following in self._layers else None

        def gather() -> None:
            for other in (self._whole, self._coming):
                if other is not None and other not in (piece, following):
                    other.unshard()  # no more than waiting, where it was on its way
                    other.reshard()
            self._whole, self._coming = piece, following
            piece.unshard()
            if following is not None:
                following.unshard(async_op=True)

        together(gather)

    def _piece(self, step: int) -> nn.Module:
        return self._pieces[min(step, 2 * len(self._pieces) - 1 - step)]

    def _before(self, step: int, module, inputs) -> None:
        self.hold(step)

    def _after(self, step: int, module, inputs, output) -> None:
        """The backward pass comes to a piece with the gradient of its output."""
        for tensor in output if isinstance(output, tuple) else (output,):
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                tensor.register_hook(lambda gradient: self.hold(step))


def _in_order_of_use(model) -> Sequence[nn.Module]:
    """The embeddings, the decoder layers, the head."""
    layers, head = layers_of(model), model.get_output_embeddings()
    if layers[-1] is None or head is None:
        raise Incompatible(
            f"spreading a backbone over workers does not know the layout of {model.config.model_type}",
            "leave --shard-backbone out, or --backbone-precision int8 or int4",
        )
    return [model.get_input_embeddings(), *layers, head]


def local(parameter: torch.Tensor) -> torch.Tensor:
    """What this worker holds of a parameter while its piece is not whole; the parameter itself where it lies in no parts."""
    from torch.distributed.tensor import DTensor

    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def _lowest(number: int) -> int:
    """The lowest of what all workers say."""
    said = torch.tensor(number)
    together(lambda: dist.all_reduce(said, dist.ReduceOp.MIN))
    return int(said)
