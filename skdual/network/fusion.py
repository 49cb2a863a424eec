"""Fusion of the two branches: attention over feature tokens, or plain concatenation."""

import torch
from torch import nn
from torch.nn import functional as F

from ..matmul import product_dtype
from .attention import attend_both_ways
from .members import MemberLayerNorm, MemberLinear

_EPSILON = 1e-5  # of normalisation

# Tokens are kept as (n_members, batch, token_dim, d), the features of a token before the tokens: what is done to every
# token is then wide products and sums along memory, where token_dim columns would be far too narrow.


class TokenLinear(MemberLinear):
    """A linear layer on every token: (n_members, batch, in_features, d) -> (n_members, batch, out_features, d)."""

    def forward(self, x, residual=None):
        """Given ``residual``, of the shape of the result, that is added to it."""
        assert self.bias is not None
        weight, bias = (
            w.unsqueeze(1).expand(*x.shape[:2], *w.shape[1:]).flatten(0, 1)
            for w in (self.weight, self.bias.unsqueeze(-1))
        )
        if residual is None:
            y = torch.baddbmm(bias, weight, x.flatten(0, 1))
        else:
            y = torch.baddbmm(residual.flatten(0, 1), weight, x.flatten(0, 1)).add_(bias)
        return y.unflatten(0, x.shape[:2])


class Tokenizer(nn.Module):
    """A vector as d tokens: Linear(d, token_dim * d), (n_members, batch, d) -> (n_members, batch, token_dim, d)."""

    def __init__(self, n_members, n_features, token_dim):
        super().__init__()
        self.shape = (token_dim, n_features)
        self.linear = MemberLinear(n_members, n_features, token_dim * n_features)

    def forward(self, h):
        tokens = self.linear(h).unflatten(-1, self.shape)
        return tokens.to(self.linear.weight.dtype) if h.device.type == "cpu" else tokens


class TokenNorm(torch.autograd.Function):
    """Layer normalisation of every token, without scale and shift, which the linear layer behind it has already.

    (n_members, batch, token_dim, d) -> the same shape, never below float32. Autograd would make new tensors for every
    operation, which takes longer on the CPU than what is computed.
    """

    @staticmethod
    def forward(ctx, x):
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        normalized = x - x.mean(dim=2, keepdim=True)
        factor = normalized.square().mean(dim=2, keepdim=True).add_(_EPSILON).rsqrt_()
        normalized.mul_(factor)
        ctx.save_for_backward(normalized, factor)
        return normalized

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        normalized, factor = ctx.saved_tensors
        along = (grad_output * normalized).mean(dim=2, keepdim=True)
        grad_x = torch.addcmul(grad_output, normalized, along, value=-1)
        return grad_x.sub_(grad_output.mean(dim=2, keepdim=True)).mul_(factor)


class TokenSide(nn.Module):
    """What one side has to itself: a transformer block around the attention that joins it to the other side.

    Vaswani et al., 2017, with layer normalisation first (Xiong et al., 2020). There is no dropout on the
    attention weights: it would turn the fused kernels off.
    """

    def __init__(self, n_members, n_features, token_dim, attention_heads):
        super().__init__()
        self.attention_heads = attention_heads
        self.tokens = Tokenizer(n_members, n_features, token_dim)
        self.query_value = TokenLinear(n_members, token_dim, 2 * token_dim)
        self.output = TokenLinear(n_members, token_dim, token_dim)
        self.hidden = TokenLinear(n_members, token_dim, 2 * token_dim)
        self.update = TokenLinear(n_members, 2 * token_dim, token_dim)
        self.readout = TokenLinear(n_members, token_dim, 1)

    def query_and_value(self, tokens):
        """Of every token and head, (n_members * batch * heads, token_dim / heads, d) each."""
        pair = self.query_value(TokenNorm.apply(tokens)).unflatten(2, (2, self.attention_heads, -1))
        return [x.flatten(0, 2) for x in pair.unbind(2)]

    def read(self, tokens, attended):
        """One number of every token, (n_members, batch, d), given the values that it attended to."""
        tokens = self.output(attended.reshape(tokens.shape).to(tokens.dtype), residual=tokens)
        tokens = self.update(F.gelu(self.hidden(TokenNorm.apply(tokens))), residual=tokens)
        return self.readout(tokens).squeeze(2)


class AttentionFusion(nn.Module):
    """Tokens of A attend to tokens of B and back; every token is read back to one number added to its feature.

    The scores of a pair of tokens serve both ways (Li et al., 2022, GLIP): a token's query is also its key.

    Parameters
    ----------
    n_members : int
    n_features_a, n_features_b : int
        Widths d_a and d_b of the branches' outputs.
    token_dim : int
        Width E of a token.
    attention_heads : int
        Must divide ``token_dim``.
    """

    def __init__(self, n_members, n_features_a, n_features_b, token_dim, attention_heads):
        super().__init__()
        self.side_a = TokenSide(n_members, n_features_a, token_dim, attention_heads)
        self.side_b = TokenSide(n_members, n_features_b, token_dim, attention_heads)
        self.norm = MemberLayerNorm(n_members, n_features_a + n_features_b)

    def forward(self, h_a, h_b):
        tokens_a, tokens_b = self.side_a.tokens(h_a), self.side_b.tokens(h_b)
        dtype = product_dtype(h_a)
        # on the CPU the other products of tokens are too small to gain by bfloat16
        with torch.autocast("cpu", enabled=False):
            query_a, value_a = self.side_a.query_and_value(tokens_a)
            query_b, value_b = self.side_b.query_and_value(tokens_b)
            attended = attend_both_ways(*(x.to(dtype) for x in (query_a, query_b, value_a, value_b)))
            from_a, from_b = self.side_a.read(tokens_a, attended[0]), self.side_b.read(tokens_b, attended[1])
        return self.norm(torch.cat([h_a + from_a, h_b + from_b], dim=-1))


class ConcatFusion(nn.Module):
    """The two vectors side by side, layer-normalised."""

    def __init__(self, n_members, n_features_a, n_features_b):
        super().__init__()
        self.norm = MemberLayerNorm(n_members, n_features_a + n_features_b)

    def forward(self, h_a, h_b):
        return self.norm(torch.cat([h_a, h_b], dim=-1))
