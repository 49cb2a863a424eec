"""Scaling of the columns.

The ways there are (``scalings``), what some can't take (``validation``), ``logarithms`` of long tails, ``sentinels``
far from other values, ``outliers``, ``statistics`` of the training rows, the layer that scales (``column_scaler``, with
``clipping``, ``row_norm`` and ``splines``), and ``fitting`` it to the rows; ``whitening`` of scaled columns.

What "standard" does beside centring, scaling and clipping, by the training rows, of which a sample decides if they are
more than some thousand:

- A code for what is missing (sentinel), such as 0 or -999, may be so far from the other values of its column that these
  are all alike beside it. A value is one if 2 % of the rows have it, ten at least, and it is far from those of the
  others, a tenth of the rows and ten at least: 95 % of these lie on one side of it, half of their standard deviation
  away or more, and, where they are fewer than twenty values, all of them, and farther than from each other. What stands
  in for it is, on its side, sqrt(p / (q s)) of their standard deviations away from their mean, if that is nearer, with
  the share s of rows that have it, the epsilon squared p of who has it, and q of the values of the others (both shrunk,
  see :func:`~skdual.anova.shrunk_epsilon_squared`): the more a code tells of the classes beside other values, the more
  it is heard.
- Columns of long tails are replaced by logarithms. Those without negative values, such as counts and concentrations, by
  log(1 + x / u), where they have at least ten values other than 0, whose 90th percentile exceeds three times their
  median; u is their 10th percentile. Those with negative values, such as increments and intensities less a background,
  by log(1 + d / u) with the sign of x - median, where d is the distance of x from the median, u the 10th percentile of
  the distances, at least fifty of them are not 0, their 90th percentile and their root mean square exceed three times
  their median, and their 98th percentile 1.5 times the 90th.
- Other columns whose standard deviation is that of few values far astray (outliers) are scaled as by "robust"; where
  the quartiles are one value, by the median distance from it of the values that differ, times the root of their share.
  They are if their standard deviation exceeds 100 times what their quartiles say, as where few values are in another
  unit; and from 1.5 times on, if scaled so, and clipped to three deviations, they tell clearly more of the classes: if
  their epsilon squared (shrunk too) is larger by half, and by two standard errors of chance. So glitches squeeze a
  column less, and the rows in which a marker is on are heard.
"""
