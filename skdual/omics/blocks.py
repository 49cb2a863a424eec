"""What AnnData and MuData have in common: checks, the columns of a block, and putting two blocks side by side."""

import reprlib

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch

from ..extras import import_extra
from ..inputs.joining import join_blocks


def check_is_instance(data, parameter, package, kind):
    """Refuse what is not of a class of an optional package."""
    if not isinstance(data, getattr(import_extra(package, extra="omics", caller=f"from_{package}"), kind)):
        raise TypeError(f"{parameter} must be a {package}.{kind}, got {type(data).__name__}.")


def check_among(mapping, key, parameter, place):
    try:
        known = key in mapping
    except TypeError:  # a list or the like, which is never a key
        known = False
    if not known:
        came = repr(key) if isinstance(key, str) else reprlib.repr(key)
        raise ValueError(
            f"{parameter}={came} is not among {place}; there are: {', '.join(map(repr, mapping)) or 'none'}."
        )


def column_of(frame, name, parameter, place):
    check_among(frame.columns, name, parameter, f"the columns of {place}")
    return frame[name]


def variables(adata, layer, mask, owner="adata"):
    """Cells and names of the variables under the mask; ``owner`` is what errors call the AnnData."""
    if layer is not None:
        check_among(adata.layers, layer, "layer", f"the layers of {owner}")
    elif adata.X is None:
        raise ValueError(f"{owner} has no X; name one of its layers: {', '.join(map(repr, adata.layers)) or 'none'}.")
    cells = adata.X if layer is None else adata.layers[layer]
    return (cells if mask.all() else cells[:, mask]), adata.var_names[mask]


def embedding(adata, key, owner="adata"):
    """Cells and column names of an entry of ``obsm``."""
    check_among(adata.obsm, key, "obsm", f"the keys of obsm of {owner}")
    cells = adata.obsm[key]
    if not hasattr(cells, "columns"):
        return (cells if sp.issparse(cells) else np.asarray(cells)), range(cells.shape[1])
    dtypes = cells.dtypes
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes):
        # columns of two types would become objects
        return cells.to_numpy(dtype=np.result_type(np.float32, *dtypes)), cells.columns
    return np.asarray(cells), cells.columns


def complete_labels(column, target):
    """The labels as an array, none of them missing."""
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(f"target={target!r} is missing in {missing} of {len(column)} cells; leave them out first.")
    return column.to_numpy()


def join(parts, names, labels, obs_names):
    """Put the blocks, pairs of cells and column names, side by side."""
    for (cells, _), name in zip(parts, names, strict=True):
        if cells.ndim != 2 or not cells.shape[1] or cells.dtype.kind not in "biuf":
            raise ValueError(
                f"block {name!r} must be a matrix of numbers, got cells of {cells.dtype} in the shape {cells.shape}."
            )
    data, width = join_blocks(*_of_one_dtype([cells for cells, _ in parts]))
    return Bunch(
        data=data,
        target=labels,
        blocks={names[0]: slice(0, width), names[1]: slice(width, data.shape[1])},
        feature_names=[
            f"{name}:{column}" for name, (_, columns) in zip(names, parts, strict=True) for column in columns
        ],
        obs_names=obs_names.to_numpy(),
    )


def _of_one_dtype(blocks):
    """Both blocks as float64 where both are, or where float32 does not reach as far as their cells; as float32 else."""
    if any(cells.dtype != np.float64 for cells in blocks):
        try:
            with np.errstate(over="raise"):
                return [cells.astype(np.float32, copy=False) for cells in blocks]
        except FloatingPointError:
            pass
    return [cells.astype(np.float64, copy=False) for cells in blocks]
