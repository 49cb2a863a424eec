"""Fusion of the two branches: attention over feature tokens, or plain concatenation."""

import torch
from torch import nn
from torch.nn import functional as F

from .members import MemberLayerNorm, MemberLinear


class Tokenizer(nn.Module):
    """A vector as d tokens: Linear(d, d * token_dim), (n_members, batch, d) -> (n_members, batch, d, token_dim)."""

    def __init__(self, n_members, n_features, token_dim):
        super().__init__()
        self.shape = (n_features, token_dim)
        self.linear = MemberLinear(n_members, n_features, n_features * token_dim)

    def forward(self, h):
        return self.linear(h).unflatten(-1, self.shape)


class CrossAttention(nn.Module):
    """One pre-norm transformer block whose queries come from one side and keys and values from the other.

    Vaswani et al., 2017, with layer normalisation first (Xiong et al., 2020). There is no dropout on the
    attention weights: it would turn the fused kernels off.
    """

    def __init__(self, n_members, token_dim, attention_heads):
        super().__init__()
        self.attention_heads = attention_heads
        self.query_norm = MemberLayerNorm(n_members, token_dim)
        self.key_norm = MemberLayerNorm(n_members, token_dim)
        self.query = MemberLinear(n_members, token_dim, token_dim)
        self.key_value = MemberLinear(n_members, token_dim, 2 * token_dim)
        self.output = MemberLinear(n_members, token_dim, token_dim)
        self.feed_forward = nn.Sequential(
            MemberLayerNorm(n_members, token_dim),
            MemberLinear(n_members, token_dim, 2 * token_dim),
            nn.GELU(),
            MemberLinear(n_members, 2 * token_dim, token_dim),
        )

    def _heads(self, x):
        """(n_members, batch, d, token_dim) -> (n_members * batch, heads, d, token_dim / heads)"""
        # the fused kernels take no more than four axes
        return x.flatten(0, 1).unflatten(-1, (self.attention_heads, -1)).transpose(1, 2)

    def forward(self, tokens, others):
        query = self._heads(self.query(self.query_norm(tokens)))
        key, value = (self._heads(x) for x in self.key_value(self.key_norm(others)).chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.output(attended.transpose(1, 2).reshape(tokens.shape))
        return tokens + self.feed_forward(tokens)


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
        self.tokens_a = Tokenizer(n_members, n_features_a, token_dim)
        self.tokens_b = Tokenizer(n_members, n_features_b, token_dim)
        self.a_to_b = CrossAttention(n_members, token_dim, attention_heads)
        self.b_to_a = CrossAttention(n_members, token_dim, attention_heads)
        self.readout_a = MemberLinear(n_members, token_dim, 1)
        self.readout_b = MemberLinear(n_members, token_dim, 1)
        self.norm = MemberLayerNorm(n_members, n_features_a + n_features_b)

    def forward(self, h_a, h_b):
        tokens_a, tokens_b = self.tokens_a(h_a), self.tokens_b(h_b)
        from_a = self.readout_a(self.a_to_b(tokens_a, tokens_b)).squeeze(-1)
        from_b = self.readout_b(self.b_to_a(tokens_b, tokens_a)).squeeze(-1)
        return self.norm(torch.cat([h_a + from_a, h_b + from_b], dim=-1))


class ConcatFusion(nn.Module):
    """The two vectors side by side, layer-normalised: what attention is compared with."""

    def __init__(self, n_members, n_features_a, n_features_b):
        super().__init__()
        self.norm = MemberLayerNorm(n_members, n_features_a + n_features_b)

    def forward(self, h_a, h_b):
        return self.norm(torch.cat([h_a, h_b], dim=-1))
