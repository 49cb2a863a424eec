"""Scaling of the columns as the first layer, so that rows are centred only once a batch is dense."""

import torch
from torch import nn

from .clipping import clip_smoothly
from .logarithms import inverse_logarithms, logarithms
from .row_norm import RowNorm
from .scalings import SCALINGS
from .sentinels import replace_sentinels
from .splines import LinearSplines


class ColumnScaler(nn.Module):
    """z = (x - center) / scale with statistics of the training rows, then smoothly clipped.

    Clipping (:func:`~skdual.scaling.clipping.clip_smoothly`) moves the mean of columns that are 0 in nearly all rows
    off 0, which ``clipped_mean`` can take out again. Scalings to a range are not clipped, and "none" leaves the columns
    as they are.

    With a scaling that takes logarithms log(1 + x) stands for x. In columns that have a unit, those of long tails,
    :func:`~skdual.scaling.logarithms.logarithms` do, of what stands in for sentinels
    (:func:`~skdual.scaling.sentinels.replace_sentinels`).

    Parameters
    ----------
    n_columns : int
    scaling : str
        A name in :data:`~skdual.scaling.scalings.SCALINGS`; says whether log(1 + x) is scaled instead of x, and whether
        z is clipped.
    with_norm : bool, default=False
        Whether the scaled columns are followed by one more, the norm of the row; with scalings that are clipped only.
    n_hats : int, default=0
        Hat functions of the columns up to there that follow; with such scalings only.

    Attributes
    ----------
    center, scale, log_zero, unit, sentinel, stand_in : tensor of shape (n_columns,)
        Those of :class:`~skdual.scaling.statistics.ColumnStatistics`; until :meth:`set_statistics` 1 for the scale and
        0 for the others.
    clipped_mean : tensor of shape (n_columns,)
        What is subtracted from clipped columns; 0 until :meth:`set_clipped_mean`.
    row_norm : RowNorm or None
    splines : LinearSplines or None
    """

    log_zero: torch.Tensor
    unit: torch.Tensor
    sentinel: torch.Tensor
    stand_in: torch.Tensor
    center: torch.Tensor
    scale: torch.Tensor
    clipped_mean: torch.Tensor
    _with_unit: torch.Tensor
    _with_stand_in: torch.Tensor

    def __init__(self, n_columns, scaling, with_norm=False, n_hats=0):
        super().__init__()
        self.scaling = scaling
        self._scales = SCALINGS[scaling].statistics is not None
        self._logarithm, self.clipped = SCALINGS[scaling].logarithm, SCALINGS[scaling].clipped
        for name in ("log_zero", "unit", "sentinel", "stand_in", "center"):
            self.register_buffer(name, torch.zeros(n_columns))
        self.register_buffer("scale", torch.ones(n_columns))
        self.register_buffer("clipped_mean", torch.zeros(n_columns))
        for name in ("_with_unit", "_with_stand_in"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64), persistent=False)
        self.row_norm = RowNorm() if with_norm else None
        self.splines = LinearSplines(n_hats) if n_hats else None

    @property
    def n_outputs(self):
        """Columns that come out."""
        n_hats = 0 if self.splines is None else self.splines.n_hats
        return len(self.center) + (self.row_norm is not None) + n_hats

    def set_statistics(self, statistics):
        """Copy :class:`~skdual.scaling.statistics.ColumnStatistics` in; a scale too small for its dtype is 1."""
        for name, values in statistics._asdict().items():
            buffer = getattr(self, name)
            buffer.copy_(torch.from_numpy(values).to(buffer.dtype))
        self._settle()

    def _load_from_state_dict(self, *args):
        super()._load_from_state_dict(*args)  # perhaps from another dtype
        self._settle()

    def _settle(self):
        self.scale.masked_fill_(self.scale == 0, 1)
        self._with_unit = self.unit.nonzero()[:, 0]
        self._with_stand_in = (self.sentinel != self.stand_in).nonzero()[:, 0]

    def set_clipped_mean(self, clipped_mean):
        """Copy the mean of clipped columns, an array of shape (n_columns,), into the layer."""
        self.clipped_mean.copy_(torch.from_numpy(clipped_mean).to(self.clipped_mean.dtype))

    @property
    def origin(self):
        """The value of every column that is scaled to 0 before it is clipped, (n_columns,)."""
        return self.expand(self.center[None])[0]

    def compress(self, x):
        """Rows, (n, n_columns), with stand-ins and logarithms where they stand for x."""
        if self._logarithm:
            return torch.log1p(x)
        x = _changed(x, self._with_stand_in, replace_sentinels, self.sentinel, self.stand_in)
        return _changed(x, self._with_unit, logarithms, self.log_zero, self.unit)

    def expand(self, compressed):
        """The rows that :meth:`compress` makes this of, but for sentinels, which are not told from their stand-ins."""
        if self._logarithm:
            return torch.expm1(compressed)
        return _changed(compressed, self._with_unit, inverse_logarithms, self.log_zero, self.unit)

    def forward(self, x):
        z = self.scale_columns_and_norm(x)
        return z if self.splines is None else self.splines(z)

    def scale_columns_and_norm(self, x):
        """The scaled columns and the norm of the row, without hat functions."""
        z = self.scale_columns(x)
        return z if self.row_norm is None else self.row_norm(z)

    def scale_columns(self, x):
        """The scaled columns without what is appended."""
        if not self._scales:
            return x
        # in place where the gradient needs no earlier value: memory takes time on the CPU
        z = (self.compress(x) - self.center).div_(self.scale)
        return clip_smoothly(z).sub_(self.clipped_mean) if self.clipped else z


def _changed(x, at, function, *of_columns):
    """x with what a function makes of some columns, and of what belongs to these, in their place."""
    if not len(at):
        return x
    if len(at) == x.shape[1]:
        return function(x, *of_columns)
    return x.index_copy(1, at, function(x[:, at], *(values[at] for values in of_columns)))
