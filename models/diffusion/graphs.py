"""Run a model's forward as a CUDA graph: recorded once, then started with one call instead of thousands.

SDXL's UNet starts 1,800 kernels a step. For one picture they are so short that the GPU waits for Python: 70 ms a step
on an H100, 43 as a graph, equal to the bit. A graph belongs to one painting and is dropped with it, so that it holds no
memory between paintings and never outlives the weights that it was recorded with; recording costs one step's Python.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.diffusion.weights import first_line

logger = logging.getLogger("models.diffusion")

Forward = Callable[..., Any]
_Shape = tuple[object, ...]


@contextmanager
def as_graphs(device: str, warm: set[Any], *models: nn.Module) -> Iterator[None]:
    """Inside, these models run as CUDA graphs once they are warm; on another device, as ever.

    Args:
        warm: kinds of calls that have run as ever before; those of now are added.
    """
    if not device.startswith("cuda"):
        yield
        return
    pool = torch.cuda.graph_pool_handle()
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(replaced_forward(model, Recorder(model.forward, pool, warm)))
        yield


@contextmanager
def replaced_forward(model: nn.Module, forward: Forward) -> Iterator[None]:
    own = model.__dict__.get("forward")
    model.forward = forward
    try:
        yield
    finally:
        if own is None:
            del model.forward
        else:
            model.forward = own


class _Recording(NamedTuple):
    graph: Any
    inputs: list[Tensor]
    output: Any


class Recorder:
    """A forward that is recorded for each kind of arguments: their structure, shapes and plain values.

    The first call of a kind runs as ever, which also lets kernels be compiled and libraries be set up. The output of a
    recorded call is valid until the next call. Where recording fails, everything goes on as ever, with one warning.
    """

    def __init__(self, forward: Forward, pool: Any, warm: set[Any], doing: str = "painting") -> None:
        self.forward, self.pool, self.warm, self.doing = forward, pool, warm, doing
        self.recordings: dict[_Shape, _Recording] = {}
        self.failed = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The forward's output for these arguments."""
        tensors: list[Tensor] = []
        shape = _take_apart((args, kwargs), tensors)
        if self.failed or shape not in self.warm:
            self.warm.add(shape)
            return self.forward(*args, **kwargs)
        if shape not in self.recordings:
            recording = self._record((args, kwargs), tensors)
            if recording is None:
                return self.forward(*args, **kwargs)
            self.recordings[shape] = recording
        recording = self.recordings[shape]
        torch._foreach_copy_(recording.inputs, tensors)
        recording.graph.replay()
        return recording.output

    def forget(self) -> None:
        """Drop what is recorded, and the memory that it holds."""
        self.recordings.clear()
        torch.cuda.empty_cache()

    def _record(self, arguments: Any, tensors: list[Tensor]) -> _Recording | None:
        inputs = [tensor.clone() for tensor in tensors]
        args, kwargs = _put_together(arguments, iter(inputs))
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads score and write other frames meanwhile, and may ask the GPU for what a recording may not.
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                output = self.forward(*args, **kwargs)
        except RuntimeError as error:
            logger.warning("%s without CUDA graphs, which is slower: %s", self.doing, first_line(error))
            self.failed = True
            return None
        return _Recording(graph, inputs, output)


def _take_apart(value: Any, tensors: list[Tensor]) -> _Shape:
    """What is left of a value without its tensors' contents; the tensors themselves are appended."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return ("tensor", value.shape, value.dtype, value.device)
    if isinstance(value, dict):
        return ("dict", *((name, _take_apart(item, tensors)) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *(_take_apart(item, tensors) for item in value))
    return ("value", value)


def _put_together(value: Any, tensors: Iterator[Tensor]) -> Any:
    """The same value with other tensors."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, dict):
        return {name: _put_together(item, tensors) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_put_together(item, tensors) for item in value)
    return value
