"""X, y and blocks from two modalities of one MuData."""

import numpy as np

from .blocks import check_among, check_is_instance, complete_labels, join, read_obsm, read_variables


def from_mudata(mdata, modality_a, modality_b, target, *, layer=None, obsm=None):
    """Two modalities of one MuData, and the labels of the cells that have both.

    Parameters
    ----------
    mdata : mudata.MuData
        In memory or backed by a file.
    modality_a, modality_b : str
        Modalities, whose names become those of the blocks. Rows are joined by ``obs_names``; cells that only one of the
        two has are left out.
    target : str or None
        Column with the labels, of ``mdata.obs`` or, if it has none of that name, of the ``obs`` of one of the two
        modalities (``"rna:cell_type"`` says of which); None where there are no labels.
    layer : str or dict, optional
        Layer to read variables from: of both modalities, or a dict modality -> layer; ``X`` by default.
    obsm : dict, optional
        A dict modality -> key: of these modalities the array, sparse matrix or DataFrame in ``obsm`` is read instead of
        the variables.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        As in :func:`from_anndata`; rows in the order of modality_a, their names in ``obs_names``.

    Raises
    ------
    ImportError
        If mudata is not installed.
    TypeError, ValueError
        If mdata is not a MuData, an argument is of a wrong type, what is named is not there, names of cells are not
        unique or none is shared, or labels are missing or differ between the modalities.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from anndata import AnnData
    >>> from mudata import MuData, set_options
    >>> from skdual.omics import from_mudata
    >>> obs = pd.DataFrame({"cell_type": ["B", "T", "T"]}, index=["cell1", "cell2", "cell3"])
    >>> rna = AnnData(np.zeros((3, 2), dtype="float32"), obs, pd.DataFrame(index=["CD3E", "MS4A1"]))
    >>> protein = AnnData(np.ones((2, 1), dtype="float32"), obs[1:][[]], pd.DataFrame(index=["CD3"]))
    >>> with set_options(pull_on_update=False):
    ...     mdata = MuData({"rna": rna, "protein": protein})
    >>> cite = from_mudata(mdata, "rna", "protein", "cell_type")
    >>> cite.data.shape, list(cite.obs_names), list(cite.target)
    ((2, 3), ['cell2', 'cell3'], ['T', 'T'])
    """
    check_is_instance(mdata, "mdata", "mudata", "MuData")
    names = modality_a, modality_b
    for parameter, name in zip(("modality_a", "modality_b"), names, strict=True):
        check_among(mdata.mod, name, parameter, "modalities")
    if modality_a == modality_b:
        raise ValueError(f"modality_a and modality_b are both {modality_a!r}; they must be two modalities.")
    if target is not None and not isinstance(target, str):
        raise TypeError(f"target must be a str or None, got {type(target).__name__}.")
    layers, keys = _by_modality(layer, obsm, names)
    pair = [mdata[name] for name in names]
    for adata, name in zip(pair, names, strict=True):
        check_is_instance(adata, f"modality {name!r}", "anndata", "AnnData")
    rows = _shared_rows(pair, names)
    obs_names = pair[0].obs_names[rows[0]]
    labels = None if target is None else complete_labels(_find_labels(mdata, names, target, obs_names), target)
    parts = []
    for adata, name, at in zip(pair, names, rows, strict=True):
        if adata.isbacked:
            adata = adata.to_memory()
        if name in keys:
            values, columns = read_obsm(adata, keys[name], owner=f"modality {name!r}")
        else:
            everything = np.ones(adata.n_vars, dtype=bool)
            values, columns = read_variables(adata, layers.get(name), everything, owner=f"modality {name!r}")
        parts.append((values[at], columns))
    return join(parts, names, labels, obs_names)


def _by_modality(layer, obsm, names):
    """Layer and key of ``obsm`` of either modality, two dicts."""
    if obsm is not None and not isinstance(obsm, dict):
        raise TypeError(f"obsm must be a dict modality -> key, got {obsm!r}.")
    layers = layer if isinstance(layer, dict) else dict.fromkeys(names, layer)
    keys = obsm or {}
    for parameter, by_modality in (("layer", layers), ("obsm", keys)):
        for name in by_modality:
            check_among(names, name, parameter, "the two modalities")
    both = [name for name in keys if isinstance(layer, dict) and name in layer]
    if both:
        raise ValueError(f"modality {both[0]!r} is in both layer and obsm; name it in one of them.")
    return layers, keys


def _shared_rows(pair, names):
    """Positions in both modalities of the cells that they share, in the order of the first."""
    for adata, name in zip(pair, names, strict=True):
        if not adata.obs_names.is_unique:
            raise ValueError(f"obs_names of modality {name!r} are not unique; see its obs_names_make_unique().")
    place = pair[1].obs_names.get_indexer(pair[0].obs_names)
    if not (place >= 0).any():
        first = " and ".join(repr(adata.obs_names[0]) if adata.n_obs else "none" for adata in pair)
        raise ValueError(
            f"modalities {names[0]!r} and {names[1]!r} share no obs_names ({first} are the first of each)."
        )
    return np.flatnonzero(place >= 0), place[place >= 0]


def _find_labels(mdata, names, target, obs_names):
    """The column of ``mdata.obs``, or else of one of the modalities, for the given cells."""
    frames = {name: mdata[name].obs for name in names}
    qualified = {f"{name}:{column}": frame[column] for name, frame in frames.items() for column in frame}
    if target in mdata.obs:
        found = [mdata.obs[target]]
    elif target in qualified:
        found = [qualified[target]]
    else:
        found = [frame[target] for frame in frames.values() if target in frame]
    if not found:
        check_among(dict.fromkeys([*mdata.obs.columns, *qualified]), target, "target", "the columns of obs")
    found = [labels.reindex(obs_names) for labels in found]
    if len(found) == 2:
        _check_same(found[0].astype(object), found[1].astype(object), names, target)
    return found[0]


def _check_same(labels_a, labels_b, names, target):
    n_different = int(((labels_a != labels_b) & ~(labels_a.isna() & labels_b.isna())).sum())
    if n_different:
        raise ValueError(
            f"target={target!r} is in both modalities and differs in {n_different} of {len(labels_a)} cells; write "
            f"{f'{names[0]}:{target}'!r} or {f'{names[1]}:{target}'!r}."
        )
