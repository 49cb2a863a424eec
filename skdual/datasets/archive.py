"""A data set of the package: arrays from its archive, and the Bunch that holds them."""

from importlib.resources import files

import numpy as np
from sklearn.utils import Bunch

from ..extras import import_extra


def load_archive(name, *, blocks, description, as_frame):
    """Read a data set that lies beside this module.

    Parameters
    ----------
    name : str
        The archive is ``data/<name>.npz``, with arrays data, target (codes), target_names and feature_names.
    blocks : dict of str -> slice
    description : str
    as_frame : bool
        Give the data as a pandas DataFrame.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        ``data``, ``target``, ``target_names``, ``feature_names``, ``blocks``, ``DESCR``.

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
        data, codes = archive["data"], archive["target"]
        target_names, feature_names = archive["target_names"], archive["feature_names"].tolist()
    if as_frame:
        data = pandas.DataFrame(data, columns=feature_names)
    return Bunch(
        data=data,
        target=target_names[codes],
        target_names=target_names,
        feature_names=feature_names,
        blocks=blocks,
        DESCR=description,
    )
