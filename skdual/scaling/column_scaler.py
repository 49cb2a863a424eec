"""Scaling of the columns as the first layer, so that rows are centred only once a batch is dense."""

import torch
from torch import nn

from .clipping import clip_smoothly
from .logarithms import inverse_logarithms, logarithms
from .row_norm import RowNorm
from .scalings import SCALINGS


class ColumnScaler(nn.Module):
    """z = (x - center) / scale with statistics of the training rows, then smoothly clipped.

    Clipping (:func:`~skdual.scaling.clipping.clip_smoothly`) moves the mean of columns that are 0 in nearly all rows
    off 0, which ``clipped_mean`` can take out again. Scalings to a range are not clipped, and "none" leaves the columns
    as they are.

    With a scaling that takes logarithms log(1 + x) stands for x. In columns that have a unit, those of long tails,
    :func:`~skdual.scaling.logarithms.logarithms` do.

    Parameters
    ----------
    n_columns : int
    scaling : str
        A name in :data:`~skdual.scaling.scalings.SCALINGS`; says whether log(1 + x) is scaled instead of x, and whether
        z is clipped.
    with_norm : bool, default=False
        Whether the scaled columns are followed by one more, the norm of the row; with scalings that are clipped only.

    Attributes
    ----------
    center, scale, log_zero, unit : tensor of shape (n_columns,)
        Those of :class:`~skdual.scaling.statistics.ColumnStatistics`; 0, 1, 0 and 0 until :meth:`set_statistics`.
    clipped_mean : tensor of shape (n_columns,)
        What is subtracted from clipped columns; 0 until :meth:`set_clipped_mean`.
    row_norm : RowNorm or None
    n_outputs : int
        Columns that come out.
    """

    log_zero: torch.Tensor
    unit: torch.Tensor
    center: torch.Tensor
    scale: torch.Tensor
    clipped_mean: torch.Tensor
    _with_unit: torch.Tensor

    def __init__(self, n_columns, scaling, with_norm=False):
        super().__init__()
        self.scaling = scaling
        self._scales = SCALINGS[scaling].statistics is not None
        self._logarithm, self.clipped = SCALINGS[scaling].logarithm, SCALINGS[scaling].clipped
        self.register_buffer("log_zero", torch.zeros(n_columns))
        self.register_buffer("unit", torch.zeros(n_columns))
        self.register_buffer("center", torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))
        self.register_buffer("clipped_mean", torch.zeros(n_columns))
        self.register_buffer("_with_unit", torch.zeros(0, dtype=torch.int64), persistent=False)
        self.row_norm = RowNorm() if with_norm else None
        self.n_outputs = n_columns + with_norm

    def set_statistics(self, statistics):
        """Copy :class:`~skdual.scaling.statistics.ColumnStatistics` in; a scale too small for its dtype is 1."""
        for name, values in statistics._asdict().items():
            buffer = getattr(self, name)
            buffer.copy_(torch.from_numpy(values).to(buffer.dtype))
        self.scale.masked_fill_(self.scale == 0, 1)
        self._find_units()

    def _load_from_state_dict(self, *args):
        super()._load_from_state_dict(*args)
        self._find_units()

    def _find_units(self):
        self._with_unit = self.unit.nonzero()[:, 0]

    def set_clipped_mean(self, clipped_mean):
        """Copy the mean of clipped columns, an array of shape (n_columns,), into the layer."""
        self.clipped_mean.copy_(torch.from_numpy(clipped_mean).to(self.clipped_mean.dtype))

    @property
    def origin(self):
        """The value of every column that is scaled to 0 before it is clipped, (n_columns,)."""
        return self.expand(self.center[None])[0]

    def compress(self, x):
        """Rows, (n, n_columns), with logarithms where they stand for x."""
        return torch.log1p(x) if self._logarithm else self._replaced(x, logarithms)

    def expand(self, compressed):
        """The rows that :meth:`compress` makes this of."""
        return torch.expm1(compressed) if self._logarithm else self._replaced(compressed, inverse_logarithms)

    def _replaced(self, x, function):
        """x with a function of the columns that have a unit, and of what is 0 and 1 in them, in their place."""
        if not len(self._with_unit):
            return x
        if len(self._with_unit) == x.shape[1]:
            return function(x, self.log_zero, self.unit)
        at = self._with_unit
        return x.index_copy(1, at, function(x[:, at], self.log_zero[at], self.unit[at]))

    def forward(self, x):
        z = self.scale_columns(x)
        return z if self.row_norm is None else self.row_norm(z)

    def scale_columns(self, x):
        """The scaled columns without the norm of the row."""
        if not self._scales:
            return x
        # in place where the gradient needs no earlier value: memory takes time on the CPU
        z = (self.compress(x) - self.center).div_(self.scale)
        return clip_smoothly(z).sub_(self.clipped_mean) if self.clipped else z
