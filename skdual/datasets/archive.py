"""A data set of the package: arrays from its archive, and the Bunch that holds them."""

from importlib.resources import files

import numpy as np
from sklearn.utils import Bunch

from ..extras import import_extra

LOADER_CONSTRAINTS = {"return_X_y": ["boolean"], "as_frame": ["boolean"]}


def load_archive(name, *, blocks, description, return_X_y, as_frame, labels=("target",)):
    """Read a data set that lies beside this module.

    Parameters
    ----------
    name : str
        The archive is ``data/<name>.npz``, with arrays data and feature_names, and codes and names of the labels,
        such as target and target_names.
    blocks : dict of str -> slice
    description : str
    return_X_y : bool
        Give the data and the first of the labels in place of the bunch.
    as_frame : bool
        Give the data as a pandas DataFrame and labels as Series.
    labels : sequence of str, default=("target",)
        Names of the labels.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        ``data``, ``target``, ``target_names`` and further labels so, ``frame``, ``feature_names``, ``blocks``,
        ``DESCR``.
    (data, target) : tuple
        If ``return_X_y=True``.

    Raises
    ------
    ImportError
        If a frame is asked for and pandas is missing.
    """
    if as_frame:
        pandas = import_extra("pandas", extra=None, caller=f"load_{name}(as_frame=True)")
    with (
        (files(__package__) / "data" / f"{name}.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        data, feature_names = archive["data"], archive["feature_names"].tolist()
        names = {f"{label}_names": archive[f"{label}_names"] for label in labels}
        of_rows = {label: names[f"{label}_names"][archive[label]] for label in labels}
    if as_frame:
        data = pandas.DataFrame(data, columns=feature_names)
        of_rows = {label: pandas.Series(values, name=label) for label, values in of_rows.items()}
    if return_X_y:
        return data, of_rows[labels[0]]
    return Bunch(
        data=data,
        **of_rows,
        frame=pandas.concat([data, *of_rows.values()], axis=1) if as_frame else None,
        **names,
        feature_names=feature_names,
        blocks=blocks,
        DESCR=description,
    )
