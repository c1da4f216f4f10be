"""A model's forward as a CUDA graph: recorded once, then started with one call instead of thousands.

SDXL's UNet starts 1,800 kernels a step. For one picture they are so short that the GPU waits for Python: a step takes
70 ms on an H100, and 43 as a graph, with bit-identical results. A graph is dropped at the end of its painting, so that
it holds no memory afterwards and never outlives the weights it was recorded with. Recording takes one step's Python.
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
    """Inside, these models run as CUDA graphs once they are warm; without a GPU, they run unchanged.

    Args:
        warm: the kinds of calls that have already run without a graph; new ones are added.
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
    """Inside, `model` runs this forward; afterwards its former one."""
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
    """A forward with one recorded graph per kind of arguments: their structure, shapes and plain values.

    The first call of a kind runs without a graph, because it may compile kernels and set up libraries. The output of a
    replayed call is valid until the next call. If recording fails, one warning is logged and no graphs are used.

    Args:
        forward: what is recorded.
        pool: memory that all its graphs share.
        warm: the kinds of calls that have already run without a graph; new ones are added.
        doing: what it is for, in the warning.
        spare: drop all graphs before a call of a new kind, so that its memory does not come on top of theirs.
    """

    def __init__(
        self, forward: Forward, pool: Any, warm: set[Any], doing: str = "painting", *, spare: bool = False
    ) -> None:
        self.forward, self.pool, self.warm, self.doing, self.spare = forward, pool, warm, doing, spare
        self.recordings: dict[_Shape, _Recording] = {}
        self.failed = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the forward's output for these arguments."""
        tensors: list[Tensor] = []
        shape = _take_apart((args, kwargs), tensors)
        if self.spare and self.recordings and shape not in self.warm:
            self.forget()
            self.pool = torch.cuda.graph_pool_handle()
        if self.failed or shape not in self.warm:
            self.warm.add(shape)
            return self.forward(*args, **kwargs)
        if shape not in self.recordings:
            recording = self._record((args, kwargs), tensors)
            if recording is None:
                return self.forward(*args, **kwargs)
            self.recordings[shape] = recording
        recording = self.recordings[shape]
        torch._foreach_copy_(recording.inputs, tensors)  # a graph always reads the memory it was recorded with
        recording.graph.replay()
        return recording.output

    def forget(self) -> None:
        """Drop the recorded graphs and free their memory."""
        self.recordings.clear()
        torch.cuda.empty_cache()

    def _record(self, arguments: Any, tensors: list[Tensor]) -> _Recording | None:
        inputs = [tensor.clone() for tensor in tensors]
        args, kwargs = _put_together(arguments, iter(inputs))
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: other threads score and save frames meanwhile, with GPU calls that a recording forbids.
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                output = self.forward(*args, **kwargs)
        except RuntimeError as error:
            logger.warning("%s without CUDA graphs, which is slower: %s", self.doing, first_line(error))
            self.failed = True
            return None
        return _Recording(graph, inputs, output)


def _take_apart(value: Any, tensors: list[Tensor]) -> _Shape:
    """Return the structure of a value, with tensors as shape, dtype and device; append the tensors to `tensors`."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return ("tensor", value.shape, value.dtype, value.device)
    if isinstance(value, dict):
        return ("dict", *((name, _take_apart(item, tensors)) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *(_take_apart(item, tensors) for item in value))
    return ("value", value)


def _put_together(value: Any, tensors: Iterator[Tensor]) -> Any:
    """Return the value with its tensors replaced, in order."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, dict):
        return {name: _put_together(item, tensors) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_put_together(item, tensors) for item in value)
    return value
