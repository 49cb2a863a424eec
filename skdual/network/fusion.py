"""Fusion of the two branches: attention over feature tokens, or plain concatenation."""

import torch
from torch import nn
from torch.nn import functional as F

from .attention import attend_both_ways
from .members import MemberLayerNorm, MemberLinear

# Tokens are kept as (n_members, token_dim, batch, d), the features of a token before the tokens: what is done to
# every token is then a few wide products and sums along memory, where token_dim columns would be far too narrow.


class TokenLinear(MemberLinear):
    """A linear layer on every token: (n_members, in_features, batch, d) -> (n_members, out_features, batch, d)."""

    def forward(self, x):
        assert self.bias is not None
        return torch.baddbmm(self.bias.unsqueeze(-1), self.weight, x.flatten(2)).unflatten(-1, x.shape[2:])


class Tokenizer(nn.Module):
    """A vector as d tokens: Linear(d, token_dim * d), (n_members, batch, d) -> (n_members, token_dim, batch, d)."""

    def __init__(self, n_members, n_features, token_dim):
        super().__init__()
        self.shape = (token_dim, n_features)
        self.linear = MemberLinear(n_members, n_features, token_dim * n_features)

    def forward(self, h):
        return self.linear(h).unflatten(-1, self.shape).transpose(1, 2).contiguous()


def normalize_tokens(x, eps=1e-5):
    """Layer normalisation of every token, without scale and shift, which the linear layer behind it has already."""
    centred = x - x.mean(dim=1, keepdim=True)
    return centred * (centred.square().mean(dim=1, keepdim=True) + eps).rsqrt()


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
        pair = self.query_value(normalize_tokens(tokens)).chunk(2, dim=1)
        return (x.unflatten(1, (self.attention_heads, -1)).permute(0, 3, 1, 2, 4).flatten(0, 2) for x in pair)

    def read(self, tokens, attended):
        """One number of every token, (n_members, batch, d), given the values that it attended to."""
        n_members, _, batch, _ = tokens.shape
        attended = attended.unflatten(0, (n_members, batch, self.attention_heads))
        tokens = tokens + self.output(attended.permute(0, 2, 3, 1, 4).reshape(tokens.shape))
        tokens = tokens + self.update(F.gelu(self.hidden(normalize_tokens(tokens))))
        return self.readout(tokens).squeeze(1)


class AttentionFusion(nn.Module):
    """Tokens of A attend to tokens of B and back; every token is read back to one number added to its feature.

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
        query_a, value_a = self.side_a.query_and_value(tokens_a)
        query_b, value_b = self.side_b.query_and_value(tokens_b)
        attended_a, attended_b = attend_both_ways(query_a, query_b, value_a, value_b)
        from_a, from_b = self.side_a.read(tokens_a, attended_a), self.side_b.read(tokens_b, attended_b)
        return self.norm(torch.cat([h_a + from_a, h_b + from_b], dim=-1))


class ConcatFusion(nn.Module):
    """The two vectors side by side, layer-normalised: what attention is compared with."""

    def __init__(self, n_members, n_features_a, n_features_b):
        super().__init__()
        self.norm = MemberLayerNorm(n_members, n_features_a + n_features_b)

    def forward(self, h_a, h_b):
        return self.norm(torch.cat([h_a, h_b], dim=-1))
