"""The span of some rows: coordinates of vectors in it, and the vectors of coordinates."""

import numpy as np
import torch

from ...devices import send
from ...inputs.slices import consecutive_slices
from ...matmul import linear

_N_ROWS, _N_COLUMNS = 512, 2048  # of products that are computed at one time


class RowSpan:
    """Coordinates of vectors in the span of some rows, in an orthonormal basis that is turned at random.

    The basis is that of a Cholesky factor of the rows' inner products (Gram-Schmidt, in one step), turned by random
    signs and a Hartley transform, the real form of Fourier's (after Ailon & Chazelle, 2009).

    Parameters
    ----------
    rows : tensor of shape (n, p), float32 or float64
    random_generator : numpy.random.Generator
    relevance : tensor of shape (1, p), optional
        What the columns of the rows are multiplied by first. No copy is made of the rows.

    Attributes
    ----------
    coordinates : tensor of shape (n, n)
        Of the rows themselves.
    """

    def __init__(self, rows, random_generator, relevance=None):
        self._relevance, self._rows = relevance, rows
        lengths = [torch.linalg.vector_norm(columns, dim=1, keepdim=True) for columns in self._columns()]
        length = torch.linalg.vector_norm(torch.stack(lengths), dim=0)
        self._length = torch.where(length == 0, 1, length)
        self._factor = self._factorize().to(rows.dtype)
        signs = random_generator.choice(np.array([-1.0, 1.0]), len(rows))
        self._signs = send(torch.from_numpy(signs), rows.device, rows.dtype)
        self.coordinates = self._turn(length * self._factor)

    def _columns(self):
        """The rows with their columns multiplied, some columns at a time."""
        for some in self._parts():
            yield self._multiplied(self._rows[:, some], some)

    def _parts(self):
        """Slices of the columns that are computed with at one time."""
        return consecutive_slices(self._rows.shape[1], _N_COLUMNS)

    def _factorize(self):
        """Cholesky factor of the inner products of the rows at unit length."""
        # rows may be dependent, as they are where columns are centred; 1e-5 in float32
        ridge = torch.finfo(self._rows.dtype).eps ** 0.7
        factor, failed = torch.linalg.cholesky_ex(self._gram_matrix(self._rows.dtype, ridge))
        if not failed:
            return factor
        # rounding took more from the products than the ridge gave
        return torch.linalg.cholesky(self._gram_matrix(torch.float64, ridge))

    def _gram_matrix(self, dtype, ridge):
        """The lower half of these inner products, computed in ``dtype``."""
        n_rows = len(self._rows)
        products = torch.zeros(n_rows, n_rows, dtype=dtype, device=self._rows.device)
        products.diagonal().fill_(ridge)
        for columns in self._columns():
            columns = (columns / self._length).to(dtype)
            for some in consecutive_slices(n_rows, _N_ROWS):
                products[some.start :, some] += linear(columns[some.start :], columns[some])
        return products

    def _turn(self, coordinates):
        return _hartley(coordinates * self._signs)

    def _turn_back(self, coordinates):
        return _hartley(coordinates) * self._signs

    def project(self, vectors):
        """Coordinates of the part of vectors that lies in the span, (m, p) -> (m, n)."""
        products = linear(self._rows, self._multiplied(vectors)) / self._length
        return self._turn(torch.linalg.solve_triangular(self._factor, products, upper=False).T)

    def coordinates_of(self, rows):
        """Those of other rows, (m, p) -> (m, n)."""
        return self.project(self._multiplied(rows))

    def _multiplied(self, vectors, columns=slice(None)):
        return vectors if self._relevance is None else vectors * self._relevance[:, columns]

    def directions_of(self, numbers):
        """Orthonormal coordinates, (m, n), of what in the span is orthogonal to all rows but m.

        ``numbers``, an ndarray of int64, are those of these rows.
        """
        unit = torch.zeros(len(self._factor), len(numbers), dtype=self._factor.dtype, device=self._factor.device)
        unit[numbers, np.arange(len(numbers))] = 1
        # column j of the factor's inverse is orthogonal to every row of the factor but the j-th
        alone, _ = torch.linalg.qr(torch.linalg.solve_triangular(self._factor, unit, upper=False))
        return self._turn(alone.T)

    def expand(self, coordinates):
        """The vectors of given coordinates, (m, n) -> (m, p)."""
        coordinates = self._turn_back(coordinates)
        weights = torch.linalg.solve_triangular(self._factor, coordinates, upper=False, left=False)
        weights = weights / self._length.T
        vectors = weights.new_empty(len(weights), self._rows.shape[1])
        for some in self._parts():
            vectors[:, some] = self._multiplied(linear(weights, self._rows[:, some].T), some)
        return vectors


def _hartley(x):
    """The orthonormal Hartley transform of every row, which is its own inverse."""
    transformed = torch.empty_like(x)
    for some in consecutive_slices(len(x), _N_ROWS):
        spectrum = torch.fft.fft(x[some], norm="ortho")
        torch.sub(spectrum.real, spectrum.imag, out=transformed[some])
    return transformed
