"""What PyTorch keeps for the whole process, as this project computes with while it computes.

Other libraries and the user's own module change these settings. Each that can change a number, or
stop a computation, is as PyTorch ships it while a guarded function runs, and after it as it was:
automatic casts, the default type and device, inference and gradient mode, the precision of float32
products, oneDNN, and the flushing of denormals. What is left alone, and why: docs/runtime.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
#: How a setting is read and written, and what it may be; the first is written where it is not.
Setting = tuple[Callable[[], object], Callable[..., object], tuple[object, ...]]
_DENORMAL = 1e-310  # one flag of the CPU is for all widths


def plain(function: Function) -> Function:
    """The same function, whatever PyTorch's settings are where it is called."""

    @wraps(function)
    def guarded(*args: object, **kwargs: object) -> object:
        with plain_torch():
            return function(*args, **kwargs)

    return guarded  # type: ignore[return-value]


@dataclass(frozen=True)
class PlainCall:
    """What `plain` is to a function that users give: unlike a closure, it can be pickled."""

    function: Callable[..., Any]

    def __call__(self, *args: object, **kwargs: object) -> Any:
        with plain_torch():
            return self.function(*args, **kwargs)


@contextmanager
def plain_torch() -> Iterator[None]:
    """PyTorch as it ships, for this thread and as long as it lasts."""
    import torch

    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        if torch.is_autocast_enabled("cpu"):
            stack.enter_context(torch.autocast("cpu", enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for read, write, wanted in _settings():
            before = read()
            if before not in wanted:
                write(wanted[0])
                stack.callback(write, before)
        yield


def _settings() -> list[Setting]:
    """In an order in which each is read after those that it falls back on."""
    import torch

    onednn = torch.backends.mkldnn
    found: list[Setting] = [
        (torch.get_default_dtype, torch.set_default_dtype, (torch.float32,)),
        (_flushes_denormals, torch.set_flush_denormal, (False,)),
        _attribute(onednn, "enabled", True),
    ]
    if hasattr(onednn, "matmul"):
        levels = (torch.backends, onednn, onednn.matmul, onednn.conv)  # type: ignore[attr-defined]
        return found + [_attribute(level, "fp32_precision", "none", "ieee") for level in levels]
    precision = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    return [*found, (*precision, ("highest",))]  # of PyTorch before 2.9


def _flushes_denormals() -> bool:
    return _DENORMAL * 1.0 == 0.0


def _attribute(holder: object, name: str, *wanted: object) -> Setting:
    return lambda: getattr(holder, name), lambda value: setattr(holder, name, value), wanted
