"""Products of a training step in the memory of the steps before.

A step of a wide layer needs room for the gradient of its weight, and for the weight in the dtype of the products. The C
library gives large blocks back when they are freed (mallopt(3), M_MMAP_THRESHOLD), and to touch new ones for the first
time takes longer than what is computed in them. So a layer keeps both:

1. Forward: the weight is rounded into ``buffer``, which the products read; ``in_use`` until their gradient comes.
2. Backward: the gradient is computed into ``buffer``, whose weight nobody needs any more, and copied to ``gradient``,
   in the weight's own dtype. Where products are in that dtype there is no buffer, and the gradient goes there at once.
3. The optimizer reads ``gradient``; with the next step all starts anew.
"""

import torch

from ..matmul import member_products


class StepMemory:
    """Memory of one layer.

    Parameters
    ----------
    weight : tensor
        Of the layer.
    dtype : torch.dtype
        Of its products.

    Attributes
    ----------
    gradient : tensor
        Like the weight.
    buffer : tensor or None
        Like the weight, in the dtype of the products; None if they have that of the weight.
    in_use : bool
        Whether a product waits for its gradient: another one in the same graph has to find other memory.
    """

    def __init__(self, weight, dtype):
        self.dtype, self.in_use = dtype, False
        self.gradient = torch.empty_like(weight)
        self.buffer = None if dtype == weight.dtype else torch.empty_like(weight, dtype=dtype)

    def fits(self, weight, dtype):
        """Whether it was made for a weight and a dtype such as these."""
        return (self.gradient.shape, self.gradient.dtype, self.dtype) == (weight.shape, weight.dtype, dtype)


class StepProduct(torch.autograd.Function):
    """Rows times the weights of all members, (n_members, batch, out_features).

    Nothing leads back to the rows. The gradients of all members are written where they belong; autograd would copy them
    there.
    """

    @staticmethod
    def forward(ctx, weight, bias, memory, inputs):
        """``inputs`` are pairs of rows, in the dtype of ``memory``, and the slice of the members that take them."""
        factor = weight if memory.buffer is None else memory.buffer.copy_(weight)
        ctx.weight, ctx.memory, ctx.inputs = weight, memory, inputs
        memory.in_use = True
        products = []
        for x, members in inputs:
            of_members = None if bias is None else bias[members].to(memory.dtype)
            products.append(member_products(x, factor[members], of_members))
        return torch.cat(products) if len(products) > 1 else products[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        memory, weight = ctx.memory, ctx.weight
        # a gradient that is still there, and will be added to, may lie in this memory
        grad_weight = memory.gradient if weight.grad is None else torch.empty_like(weight)
        computed = grad_weight if memory.buffer is None else memory.buffer
        for x, members in ctx.inputs:
            if x.ndim == 3:
                torch.bmm(grad_output[members].transpose(1, 2), x, out=computed[members])
            else:
                units = grad_output[members].transpose(0, 1).flatten(1)
                torch.mm(units.T, x, out=computed[members].flatten(0, 1))
        if memory.buffer is not None:
            grad_weight.copy_(computed)
        memory.in_use = False
        grad_bias = grad_output.sum(dim=1, dtype=weight.dtype) if ctx.needs_input_grad[1] else None
        # autograd takes over a tensor that nobody else holds, and copies others: hence a view
        return grad_weight.view_as(grad_weight), grad_bias, None, None
