"""What the training rows say of the columns, before there is a network.

``preparation`` is the way: the scalers, then which blocks have a norm of the row (``row_norms``), which columns have
splines (``splines``), which blocks are whitened (``whitening``), the last two by ``ridge`` regressions; ``relevance``
is what each regularised member multiplies the columns by.

The rules of the first three are for blocks scaled by "standard", "robust" or "log1p":

- The norm of a row, the root mean square of the scaled columns, is one more column of a block where the share of its
  variance that lies between the classes is at least a tenth, and more than twice that of any column. The block has to
  have two training rows a column: with fewer, new rows are shorter than those trained on.
- Splines are hat functions of a scaled column, each 1 at a level and 0 at the next ones, standardised. Levels are the
  values of a column of at most twenty, or the quantiles .03, .16, ... .97 of others; those of less than 2 % of the rows
  or ten have none. The levels must tell what the column's size does not, by Pearson's chi squared of levels and
  classes, less n times eta squared of the column or its levels' numbers, whichever is larger: significantly (.001),
  and, less what it is by chance, half as much as the latter. And such columns must help: a kernel ridge regression of
  the classes (Gaussian kernel, the columns of both blocks times their relevance, six penalties) has a smaller squared
  error with them, each row predicted by all others, by .06 of the variance of the classes or by half, .005 at least,
  and by two standard errors; also where without them either block is made to vary as much as with them, so that it does
  not help that one of them counts for more. Where columns tell together, smoothly, what each tells by its level, it has
  not, nor does the network need them. That is for blocks of no more columns than rows, by 1,024 rows at random without
  copies, of which 640 are for the regression.
- A block, without norm or splines, is whitened for the plain members where ridge regressions of the classes on it, with
  seven penalties from 1e-6 v to v, say so, v being the mean variance of its columns. Each row is predicted by all
  others but its copies and those nearest to it, which may be measurements of the same sample (a tenth of the mean size
  of a class, 20 at most). One of the penalties has to have a smaller squared error than the largest, by a tenth of the
  variance of the classes and by four standard errors. Its columns z become z (C + a v I)^(-1/2), where C is their
  covariance, in the span of the rows and such that the sum of the variances stays as it is; a is ten times the largest
  penalty that is within a standard error of the best. The same is then done with both blocks together, with that
  penalty as a. It takes at least ten rows: all, if they are 4,096 at most and have at most 2**23 values in the columns
  concerned, or as many at random, if that is two a column.
- The relevance of a column squared is its epsilon squared (the share of the variance that lies between the classes,
  less what it is by chance), shrunk towards the mean over the columns of the block by empirical Bayes, plus that mean;
  and such that the mean variance of the columns stays as it is. What columns tell only together is left to the plain
  members.
"""
