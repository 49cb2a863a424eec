"""One branch in the span of the rows: coordinates in place of columns, and the way there and back."""

import math
from typing import NamedTuple

import torch
from torch import nn

from ...network.members import in_product_dtype, member_halves
from .row_span import RowSpan


def relevance_by_member(branch, n_members):
    """What each member multiplies the columns by, of shape (1, p); None for those that take them as they are."""
    relevance = branch.inputs.relevance
    if relevance is None:
        return [None] * n_members
    plain, regularized = member_halves(n_members)
    return [None] * plain.stop + list(relevance[regularized])


def span_keys(branch, n_members, whitened):
    """What tells each member's span from others: whether its rows are whitened, and its number, if it has a relevance.

    Plain members come first, so that their span is the first.
    """
    plain, _ = member_halves(n_members)
    by_member = enumerate(relevance_by_member(branch, n_members))
    return [(whitened and m < plain.stop, None if relevance is None else m) for m, relevance in by_member]


class SpanCoordinates(nn.Module):
    """Rows as coordinates in several spans, in the place of :class:`~skdual.network.members.MemberInputs`.

    A row has ``n_coordinates`` for the plain members together, if there are any, and as many for each of the others, or
    for all of these together.
    """

    def __init__(self, n_coordinates):
        super().__init__()
        self.n_coordinates = n_coordinates

    def forward(self, n_members, x, of_regularized=None):
        """As of :class:`~skdual.network.members.MemberInputs`."""
        of_regularized = x if of_regularized is None else of_regularized
        plain, regularized = member_halves(n_members)
        shared = self.n_coordinates * (plain.stop > 0)
        own = of_regularized[:, shared:].unflatten(1, (-1, self.n_coordinates)).transpose(0, 1)
        return in_product_dtype((x[:, :shared], plain), (own[0] if len(own) == 1 else own, regularized))


class SideBySide(nn.Module):
    """Whitened rows beside those as they are, for the place of :class:`~skdual.network.members.MemberInputs`."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, n_members, x, of_regularized=None):
        """As of :class:`~skdual.network.members.MemberInputs`."""
        whitened, _ = x.chunk(2, dim=1)
        _, as_they_are = (x if of_regularized is None else of_regularized).chunk(2, dim=1)
        return self.inner(n_members, whitened, as_they_are)


class _Start(NamedTuple):
    """What a branch had learnt before: weights of all columns and their coordinates, both of all members."""

    weights: torch.Tensor
    coordinates: torch.Tensor


class SpanBranch:
    """A branch whose first weights, of the hidden layers and of the shortcut, are coordinates in spans of rows.

    From the start to :meth:`widen` it has other weights in both layers, and another module ``inputs``.

    Parameters
    ----------
    branch : BranchEncoder
    rows : tensor of shape (n, p)
        Scaled.
    whitened : tensor of shape (n, p), optional
        The same as the plain members take them; without it they take ``rows``.
    random_generator : numpy.random.Generator
    fitted_before : bool
    held_out : list of ndarray of int64
        Numbers of the rows that each member does not train on.

    Attributes
    ----------
    coordinates : ndarray of shape (n, n_spans * n)
        Of the rows themselves.
    """

    def __init__(self, branch, rows, whitened, random_generator, fitted_before, held_out):
        self._branch, self._inputs, self._layers = branch, branch.inputs, branch.column_layers
        self._device = rows.device
        self._scale = math.sqrt(len(rows) / rows.shape[1])  # such that mean squares stay as they are
        self._spans = self._spans_by_member(rows, whitened, random_generator, len(held_out))
        pairs = zip(self._spans, held_out, strict=True)
        self._held_out = [span.directions_of(numbers) for span, numbers in pairs]
        self._start = self._projected() if fitted_before else None
        if self._start is None:
            # new weights are distributed alike in all directions: any n of their numbers are as good as projections
            self._replace(self._weights(slice(len(rows))) / self._scale)
        else:
            self._replace(self._start.coordinates)
        if self._inputs.relevance is not None or whitened is not None:
            branch.inputs = SpanCoordinates(len(rows))
        self.coordinates = self._side_by_side([span.coordinates for span in dict.fromkeys(self._spans)])

    def _spans_by_member(self, rows, whitened, random_generator, n_members):
        keys, spans = span_keys(self._branch, n_members, whitened is not None), {}
        for key, relevance in zip(keys, relevance_by_member(self._branch, n_members), strict=True):
            if key not in spans:
                relevance = relevance if relevance is None else relevance.to(self._device)
                spans[key] = RowSpan(whitened if key[0] else rows, random_generator, relevance)
        return [spans[key] for key in keys]

    def _projected(self):
        weights = self._weights()
        pairs = zip(self._spans, weights, strict=True)
        return _Start(weights, torch.stack([span.project(of_member) for span, of_member in pairs]) / self._scale)

    def _weights(self, columns=slice(None)):
        """Those of both layers, (n_members, units of both, columns)."""
        return torch.cat([layer.weight.detach()[:, :, columns].to(self._device) for layer in self._layers], dim=1)

    def _learnt(self):
        """Coordinates of what was learnt since the start: all of new weights."""
        return self._weights() if self._start is None else self._weights() - self._start.coordinates

    def _by_layer(self, weights):
        """Pairs of a layer and its part of the weights of both."""
        sizes = [layer.weight.shape[1] for layer in self._layers]
        return zip(self._layers, weights.split(sizes, dim=1), strict=True)

    def _replace(self, weights):
        """Give the layers other weights, of another width."""
        for layer, of_layer in self._by_layer(weights):
            own = of_layer.clone(memory_format=torch.contiguous_format)
            layer.weight = nn.Parameter(own.to(layer.weight.device))

    def _side_by_side(self, coordinates):
        return torch.cat(coordinates, dim=1).mul_(self._scale).cpu().numpy()

    def coordinates_of(self, rows, whitened):
        """Those of other rows, given as those of the constructor."""
        first, *others = dict.fromkeys(self._spans)
        of_first = first.coordinates_of(rows if whitened is None else whitened)
        return self._side_by_side([of_first, *(span.coordinates_of(rows) for span in others)])

    def drop_held_out(self):
        """Let no weights of a member answer to a direction that only rows have that it holds out."""
        if not any(map(len, self._held_out)):
            return
        pairs = zip(self._learnt(), self._held_out, strict=True)
        dropped = torch.stack([learnt @ directions.T @ directions for learnt, directions in pairs])
        for layer, of_layer in self._by_layer(dropped):
            layer.weight.detach().sub_(of_layer.to(layer.weight.device))

    def widen(self):
        """Give the layers weights for all columns."""
        pairs = zip(self._spans, self._learnt() * self._scale, strict=True)
        widened = torch.stack([span.expand(learnt) for span, learnt in pairs])
        self._replace(widened if self._start is None else self._start.weights + widened)
        self._branch.inputs = self._inputs
