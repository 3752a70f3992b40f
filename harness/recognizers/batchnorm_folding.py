"""Exact simplifications of a frozen network: batch normalisation into its neighbours, cheaper activations.

"Exact" is in exact arithmetic; in float32 the embeddings move by rounding only, and ``preparation`` checks that.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

Norm = nn.BatchNorm1d | nn.BatchNorm2d
Linear = nn.Conv2d | nn.Linear
# Elementwise in evaluation mode and per channel: a normalisation may be carried over them.
TRANSPARENT = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten)


class FrozenReLU6(nn.Module):
    """ReLU6 in place, whose backward reads its output: PyTorch's own keeps a copy of the input for that."""

    def forward(self, x: Tensor) -> Tensor:
        return _FrozenReLU6.apply(x)


class _FrozenReLU6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        x.clamp_(0, 6)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, output, 0, 6)


class FrozenPReLU(nn.Module):
    """PReLU whose slopes get no gradient.

    PyTorch's own backward also computes a gradient for every slope and element; on a CPU this one is about 14 times
    faster (measured on (16, 128, 28, 28), channels-last, two cores).
    """

    slope: Tensor

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.register_buffer("slope", slope.detach().flatten().clone())

    def forward(self, x: Tensor) -> Tensor:
        return _FrozenPReLU.apply(x, self.slope)


class _FrozenPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return functional.prelu(x, slope)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, slope = ctx.saved_tensors
        slope = slope.view(1, -1, *(1,) * (x.ndim - 2))
        # Where x > 0 both ends are the gradient itself; elsewhere zero moves to gradient by the slope.
        return torch.ops.aten.threshold_backward(gradient, x, 0).lerp(gradient, slope), None


def simplify(network: nn.Module) -> fx.GraphModule:
    """``network``, in evaluation mode, as a simplified graph; its parameters may be shared with the result.

    Raises whatever ``torch.fx`` raises for a network whose forward depends on its data.
    """
    module = network if isinstance(network, fx.GraphModule) else fx.symbolic_trace(network)
    for node in list(module.graph.nodes):
        layer = _layer(module, node)
        if isinstance(layer, Norm):
            if not _fold_backwards(module, node, layer):
                _fold_forwards(module, node, layer)
        elif isinstance(layer, nn.PReLU):
            _replace(module, node, FrozenPReLU(layer.weight))
        elif isinstance(layer, nn.ReLU | nn.ReLU6) and _overwritable(module, node.args[0]):
            _replace(module, node, FrozenReLU6() if isinstance(layer, nn.ReLU6) else nn.ReLU(inplace=True))
    module.delete_all_unused_submodules()
    module.graph.lint()
    module.recompile()
    return module


def _layer(module: fx.GraphModule, node: Any) -> nn.Module | None:
    """The layer that a node calls, if it calls one."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    return module.get_submodule(str(node.target))


def _replace(module: fx.GraphModule, node: fx.Node, layer: nn.Module) -> None:
    """Give this one node a layer of its own: other nodes may share the old one."""
    name = f"simplified_{node.name}"
    module.add_submodule(name, layer)
    node.target = name


def _overwritable(module: fx.GraphModule, source: Any) -> bool:
    """Whether an output may be changed in place: linear maps do not need theirs for the backward."""
    return isinstance(_layer(module, source), Linear) and len(source.users) == 1


def _fold_backwards(module: fx.GraphModule, node: fx.Node, norm: Norm) -> bool:
    """Into the convolution or linear map just before."""
    source: Any = node.args[0]
    layer = _layer(module, source)
    if not isinstance(layer, Linear) or not _alone(module, source):
        return False
    fused: nn.Module = (
        fuse_conv_bn_eval(layer, norm) if isinstance(layer, nn.Conv2d) else fuse_linear_bn_eval(layer, norm)
    )
    module.set_submodule(str(source.target), fused)
    _bypass(module, node)
    return True


def _fold_forwards(module: fx.GraphModule, node: fx.Node, norm: Norm) -> bool:
    """Into the linear map or unpadded convolution after: padding would add zeros where the shift belongs."""
    target = _only_user(node)
    while target is not None and _is_transparent(module, target):
        target = _only_user(target)
    layer = _layer(module, target)
    if target is None or not isinstance(layer, Linear) or not _unshared(module, target):
        return False
    if isinstance(layer, nn.Conv2d) and layer.padding not in (0, (0, 0), "valid"):
        return False
    module.set_submodule(str(target.target), absorb(layer, *affine(norm)))
    _bypass(module, node)
    return True


def _alone(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether nothing else reads the node's output or uses its layer."""
    return len(node.users) == 1 and _unshared(module, node)


def _unshared(module: fx.GraphModule, node: fx.Node) -> bool:
    return sum(other.target == node.target for other in module.graph.nodes) == 1


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is_transparent(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op in ("call_function", "call_method"):
        return node.target in (torch.flatten, "flatten") and tuple(node.args[1:]) == (1,) and not node.kwargs
    layer = _layer(module, node)
    return isinstance(layer, TRANSPARENT) and getattr(layer, "start_dim", 1) == 1


def _bypass(module: fx.GraphModule, node: fx.Node) -> None:
    source: Any = node.args[0]
    node.replace_all_uses_with(source)
    module.graph.erase_node(node)


def affine(norm: Norm) -> tuple[Tensor, Tensor]:
    """Batch normalisation in evaluation mode as ``scale * x + shift``, each float64 (C,)."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("batch normalisation without running statistics is no fixed affine map")
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    return scale, shift + norm.bias.detach().double() if norm.affine else shift


def absorb(layer: Linear, scale: Tensor, shift: Tensor) -> Linear:
    """A layer that does to x what ``layer``, unpadded, does to ``scale * x + shift``, channel by channel."""
    changed = copy.deepcopy(layer)
    weight = layer.weight.detach().double()
    if isinstance(layer, nn.Linear):
        scale, shift = (value.repeat_interleave(layer.in_features // len(value)) for value in (scale, shift))
    else:
        scale, shift = (_per_kernel(value, layer) for value in (scale, shift))
    moved = (weight * shift).flatten(1).sum(dim=1)
    if layer.bias is not None:
        moved = moved + layer.bias.detach().double()
    changed.weight = nn.Parameter((weight * scale).to(layer.weight.dtype), requires_grad=False)
    changed.bias = nn.Parameter(moved.to(layer.weight.dtype), requires_grad=False)
    return changed


def _per_kernel(values: Tensor, layer: nn.Conv2d) -> Tensor:
    """One number per input channel (C,) as the convolution's kernels see them: (out, C / groups, 1, 1)."""
    per_group = values.view(layer.groups, 1, -1).expand(-1, layer.out_channels // layer.groups, -1)
    return per_group.reshape(layer.out_channels, -1, 1, 1)
