"""What AnnData and MuData have in common: checks, the columns of a block, and putting two blocks side by side."""

from importlib import import_module

import numpy as np
import scipy.sparse as sp
from sklearn.utils import Bunch

from ..inputs.columns import join_blocks


def check_container(data, parameter, package, kind):
    """Refuse what is not of a class of an optional package; say which extra brings the package if it is missing."""
    try:
        container = getattr(import_module(package), kind)
    except ImportError as error:
        raise ImportError(f'{package} is not installed; it comes with pip install "skdual[omics]".') from error
    if not isinstance(data, container):
        raise TypeError(f"{parameter} must be a {package}.{kind}, got {type(data).__name__}.")


def check_names(names):
    if len(names) != 2 or names[0] == names[1] or not all(isinstance(name, str) for name in names):
        raise ValueError(f"the two blocks need two different names, got {names!r}.")


def check_among(mapping, key, parameter, place):
    if key not in mapping:
        raise ValueError(
            f"{parameter}={key!r} is not among {place}; there are: {', '.join(map(repr, mapping)) or 'none'}."
        )


def column_of(frame, name, parameter, place):
    check_among(frame.columns, name, parameter, f"the columns of {place}")
    return frame[name]


def variables(adata, layer, mask):
    """Cells and names of the variables under the mask."""
    if layer is not None:
        check_among(adata.layers, layer, "layer", "the layers")
    elif adata.X is None:
        raise ValueError(
            f"the AnnData has no X; name one of its layers: {', '.join(map(repr, adata.layers)) or 'none'}."
        )
    cells = adata.X if layer is None else adata.layers[layer]
    return (cells if mask.all() else cells[:, mask]), adata.var_names[mask]


def embedding(adata, key):
    """Cells and column names of an entry of ``obsm``."""
    check_among(adata.obsm, key, "obsm", "the keys of obsm")
    cells = adata.obsm[key]
    names = cells.columns if hasattr(cells, "columns") else range(cells.shape[1])
    return (cells if sp.issparse(cells) else np.asarray(cells)), names


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
    dtype = np.float64 if all(cells.dtype == np.float64 for cells, _ in parts) else np.float32
    data, width = join_blocks(*(cells.astype(dtype, copy=False) for cells, _ in parts))
    return Bunch(
        data=data,
        target=labels,
        blocks={names[0]: slice(0, width), names[1]: slice(width, data.shape[1])},
        feature_names=[
            f"{name}:{column}" for name, (_, columns) in zip(names, parts, strict=True) for column in columns
        ],
        obs_names=obs_names.to_numpy(),
    )
