"""What AnnData and MuData have in common: checks, the columns of a block, and putting two blocks side by side."""

import reprlib

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch

from ..extras import import_extra
from ..inputs.frames import numpy_dtypes
from ..inputs.joining import join_blocks


def check_is_instance(data, parameter, package, kind):
    """Refuse what is not of a class of an optional package."""
    if not isinstance(data, getattr(import_extra(package, extra="omics", caller=f"from_{package}"), kind)):
        raise TypeError(f"{parameter} must be of {package}.{kind}, got {type(data).__name__}.")


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


def read_variables(adata, layer, mask, owner="adata"):
    """Values and names of the variables under the mask; ``owner`` is what errors call the AnnData."""
    if layer is not None:
        check_among(adata.layers, layer, "layer", f"the layers of {owner}")
    elif adata.X is None:
        raise ValueError(f"{owner} has no X; name one of its layers: {', '.join(map(repr, adata.layers)) or 'none'}.")
    values = adata.X if layer is None else adata.layers[layer]
    return (values if mask.all() else values[:, mask]), adata.var_names[mask]


def read_obsm(adata, key, owner="adata"):
    """Values and column names of an entry of ``obsm``."""
    check_among(adata.obsm, key, "obsm", f"the keys of obsm of {owner}")
    values = adata.obsm[key]
    if not hasattr(values, "columns"):
        return (values if sp.issparse(values) else np.asarray(values)), range(values.shape[1])
    dtypes = numpy_dtypes(values)
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes):
        # columns of two types would become objects; integers ask for no more than an array of them gets
        dtype = np.result_type(np.float32, *(dtype for dtype in dtypes if dtype.kind == "f"))
        return values.to_numpy(dtype=dtype, na_value=np.nan), values.columns
    return np.asarray(values), values.columns


def complete_labels(column, target):
    """The labels as an array, none of them missing."""
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(f"target={target!r} is missing in {missing} of {len(column)} cells; leave them out first.")
    return column.to_numpy(copy=True)


def join(parts, names, labels, obs_names):
    """Put the blocks, pairs of values and column names, side by side."""
    for (values, _), name in zip(parts, names, strict=True):
        if values.ndim != 2 or not values.shape[1] or values.dtype.kind not in "biuf":
            raise ValueError(
                f"block {name!r} must be a matrix of numbers, got values of {values.dtype} in the shape {values.shape}."
            )
    data, width = join_blocks(*_of_one_dtype([values for values, _ in parts]))
    return Bunch(
        data=data,
        target=labels,
        blocks={names[0]: slice(0, width), names[1]: slice(width, data.shape[1])},
        feature_names=[
            f"{name}:{column}" for name, (_, columns) in zip(names, parts, strict=True) for column in columns
        ],
        obs_names=obs_names.to_numpy(copy=True),
    )


def _of_one_dtype(blocks):
    """Both blocks as float64 where both are, or where float32 does not hold their values; as float32 else."""
    if any(values.dtype != np.float64 for values in blocks):
        try:
            with np.errstate(over="raise"):
                return [values.astype(np.float32, copy=False) for values in blocks]
        except FloatingPointError:
            pass
    return [values.astype(np.float64, copy=False) for values in blocks]
