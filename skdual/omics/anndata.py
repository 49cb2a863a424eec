"""X, y and blocks from one AnnData."""

import reprlib

import numpy as np

from .blocks import check_among, check_is_instance, column_of, complete_labels, join, read_obsm, read_variables


def from_anndata(adata, *, block_a="X", block_b, target, layer=None, names=("rna", "protein")):
    """Two blocks and the labels of one AnnData.

    Parameters
    ----------
    adata : anndata.AnnData of shape (n_cells, n_variables)
        In memory or backed by a file.
    block_a : "X" or dict, default="X"
        Where the columns of block A are. "X": every variable. ``{"obsm": key}``: an array, sparse matrix or DataFrame
        in ``obsm``. Any other dict: the variables with these values in columns of ``var``, such as
        ``{"feature_types": "Gene Expression", "highly_variable": True}``.
    block_b : "X" or dict
        The same for block B.
    target : str or None
        Column of ``obs`` with the labels; None where there are none, as in rows to predict.
    layer : str, optional
        Layer to read variables from; ``adata.X`` by default.
    names : pair of str, default=("rna", "protein")
        Names of the blocks.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        ``data``, CSR where either block is sparse and ndarray otherwise, float64 where both blocks are or a value is
        too large for float32, and float32 otherwise, of shape (n_cells, n_columns_a + n_columns_b); ``target``, ndarray
        of shape (n_cells,) or None; ``blocks``, dict name -> slice, for :class:`~skdual.DualBranchClassifier`;
        ``feature_names``, list of str such as ``"rna:CD3E"`` (columns of an ``obsm`` array are numbered);
        ``obs_names``, ndarray of str of shape (n_cells,).

    Raises
    ------
    ImportError
        If anndata is not installed.
    TypeError, ValueError
        If adata is not an AnnData, what a block, layer or target names is not there, blocks share variables or names,
        or labels are missing.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from anndata import AnnData
    >>> from skdual.omics import from_anndata
    >>> cells = ["cell1", "cell2", "cell3"]
    >>> obs = pd.DataFrame({"cell_type": ["B", "T", "T"]}, index=cells)
    >>> protein = pd.DataFrame([[0, 9], [8, 1], [7, 0]], columns=["CD3", "CD19"], index=cells)
    >>> adata = AnnData(np.zeros((3, 2), dtype="float32"), obs, pd.DataFrame(index=["CD3E", "MS4A1"]))
    >>> adata.obsm["protein"] = protein
    >>> cite = from_anndata(adata, block_b={"obsm": "protein"}, target="cell_type")
    >>> cite.feature_names
    ['rna:CD3E', 'rna:MS4A1', 'protein:CD3', 'protein:CD19']
    >>> cite.data.shape, cite.blocks
    ((3, 4), {'rna': slice(0, 2, None), 'protein': slice(2, 4, None)})
    """
    check_is_instance(adata, "adata", "anndata", "AnnData")
    _check_names(names)
    if layer is not None:
        check_among(adata.layers, layer, "layer", "the layers of adata")
    chosen = [
        _chosen_variables(adata, source, f"block_{side}") for side, source in zip("ab", (block_a, block_b), strict=True)
    ]
    if all(mask is not None for mask in chosen) and (chosen[0] & chosen[1]).any():
        twice = np.flatnonzero(chosen[0] & chosen[1])
        raise ValueError(
            f"block_a={block_a!r} and block_b={block_b!r} share {len(twice)} variables, {adata.var_names[twice[0]]!r} "
            f"first; name the variables of each, for instance by {{'feature_types': 'Gene Expression'}}."
        )
    if block_a == block_b:
        raise ValueError(f"block_a and block_b are both {block_a!r}; they must be two blocks.")
    labels = None if target is None else complete_labels(column_of(adata.obs, target, "target", "obs"), target)
    if adata.isbacked:
        adata = adata.to_memory()
    parts = [
        read_obsm(adata, source["obsm"]) if mask is None else read_variables(adata, layer, mask)
        for mask, source in zip(chosen, (block_a, block_b), strict=True)
    ]
    return join(parts, names, labels, adata.obs_names)


def _check_names(names):
    pair = isinstance(names, (tuple, list)) and len(names) == 2 and all(isinstance(name, str) for name in names)
    if not pair or names[0] == names[1]:
        raise ValueError(f"names must be a pair of two different str, got {names!r}.")


def _chosen_variables(adata, source, parameter):
    """Boolean mask of the variables of a block, or None if it is in ``obsm``."""
    if isinstance(source, str) and source == "X":
        return np.ones(adata.n_vars, dtype=bool)
    if not isinstance(source, dict) or not source or ("obsm" in source and len(source) > 1):
        raise ValueError(
            f"{parameter} must be 'X', {{'obsm': key}} or a dict of columns of var and their values; got {source!r}."
        )
    if "obsm" in source:
        check_among(adata.obsm, source["obsm"], parameter, "the keys of obsm")
        return None
    mask = np.ones(adata.n_vars, dtype=bool)
    for name, value in source.items():
        column = column_of(adata.var, name, parameter, "var")
        if hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
            raise ValueError(f"{parameter}: var[{name!r}] must be compared with one value, got {reprlib.repr(value)}.")
        mask &= (column == value).fillna(False).to_numpy(dtype=bool)
        if not mask.any():
            raise ValueError(
                f"{parameter}={source!r} leaves no variable; var[{name!r}] has the values "
                f"{', '.join(map(repr, column.unique().tolist()[:10]))}."
            )
    return mask
