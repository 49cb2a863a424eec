"""Model files: written in one piece or not at all."""

import errno
import os
import secrets
import shutil
from pathlib import Path

import joblib
from sklearn.base import BaseEstimator

from .serialization import NewerFormatError


def _checked_path(path):
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(f"path must be a str or path-like, got {type(path).__name__}.")
    if name.endswith(os.sep):
        raise IsADirectoryError(errno.EISDIR, "path must be a file, but its end says that it is a folder", name)
    return Path(name)


def _file_to_write(path):
    """The file that a path means, which is the one that a link points to, so that the link stays."""
    try:
        path = _checked_path(path).resolve()
    except RuntimeError as error:  # before Python 3.13
        raise OSError(errno.ELOOP, "path goes round in a loop of links", str(path)) from error
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "path must be in a folder that exists", str(path))
    if path.exists() and not path.is_file():  # such as /dev/null, which would be a plain file from then on
        raise OSError(errno.EEXIST, "path must be new or a regular file", str(path))
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "path may not be written to", str(path))
    return path


def save(model, path):
    """Write a model to a file atomically: whole or not at all.

    The model goes to a new file beside ``path``, which takes the place of ``path`` once it is complete and on the
    disk. A save that fails or is killed leaves an earlier file at ``path`` as it was; one that is killed leaves a
    hidden file that ends in ``.partial`` too.

    A fitted :class:`~skdual.DualBranchClassifier` is kept as plain values and numpy arrays: parameters, fitted
    attributes, weights, and the versions of skdual, torch and scikit-learn; no optimizer, memory bank or rows.

    Parameters
    ----------
    model : estimator
        A :class:`~skdual.DualBranchClassifier`, or a pipeline, search or other estimator that holds one.
    path : str or path-like
        File to write, in joblib's format, which :func:`joblib.load` reads too.

    Raises
    ------
    TypeError
        If ``model`` is no estimator, or refers to something that can't be pickled, such as a lock; or ``path`` is no
        path.
    OSError
        If the file can't be written, or ``path`` is a folder, a device or the like.
    pickle.PicklingError, AttributeError
        If the model refers to a function that can't be imported by name, such as a lambda in ``blocks``.

    See Also
    --------
    load : Read the file.

    Notes
    -----
    To give models to others, who should not have to trust the file, use ``skops.io.dump(model, path)`` and
    ``skops.io.load(path, trusted=[...])``. Of this package the list needs ``"skdual.estimator.DualBranchClassifier"``
    and, where blocks were given by ``from_prefix``, ``"skdual.inputs.columns.Prefix"``. Neither runs code that a file
    brings. Your own functions and classes in ``blocks``, ``callbacks`` or ``net_params`` have to be listed too, and so
    have the other steps of a pipeline, such as ``"skdual.preprocessing.LogNormalizer"``.

    Examples
    --------
    >>> import tempfile
    >>> import skdual
    >>> from skdual.datasets import load_htad
    >>> htad = load_htad()
    >>> model = skdual.DualBranchClassifier(36, max_epochs=2, n_members=1, random_state=0).fit(htad.data, htad.target)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skdual.save(model, f"{folder}/model.joblib")
    ...     again = skdual.load(f"{folder}/model.joblib")
    >>> bool((again.predict_proba(htad.data) == model.predict_proba(htad.data)).all())
    True
    """
    if not isinstance(model, BaseEstimator):
        raise TypeError(f"model must be an estimator, got {type(model).__name__}.")
    path = _file_to_write(path)
    # the start of the name only: a file system has room for 255 bytes
    partial = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.partial")
    try:
        mode = 0o600 if path.exists() else 0o666  # until it is the file's own, which others may not read
        with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            joblib.dump(model, file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def load(path):
    """Read a model that :func:`save` or :func:`joblib.dump` wrote.

    The network is put on the device that the model's ``device`` parameter selects on this machine, or on the CPU, with
    a warning, where there is no such device. Reading a joblib file can run any code that is in it: load only files
    that you trust.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    model : estimator

    Raises
    ------
    TypeError
        If ``path`` is no path.
    OSError
        If the file can't be read.
    ValueError
        If the file is cut short, so damaged that it can't be read, or no model file at all; or if a newer skdual wrote
        it in a format that this one does not know; or if a function or class of yours that the model refers to, as
        ``blocks`` or a pipeline may, can't be imported.
    MemoryError
        If there is not as much memory as the file asks for, which one that is damaged may do.

    Warns
    -----
    UserWarning
        If the file was written by another major or minor version of skdual, or another major version of torch or
        scikit-learn; or if the device of the model is not available here.

    See Also
    --------
    save : Write the file; its notes say how to read files without having to trust them.

    Examples
    --------
    >>> import tempfile
    >>> import skdual
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skdual.save(skdual.DualBranchClassifier(36), f"{folder}/model.joblib")
    ...     skdual.load(f"{folder}/model.joblib")
    DualBranchClassifier(blocks=36)
    """
    path = _checked_path(path)
    try:
        model = joblib.load(path)
        if not isinstance(model, BaseEstimator):
            raise TypeError(f"it holds an object of type {type(model).__name__}")
    except (NewerFormatError, MemoryError, Warning):
        raise  # not the file's fault, or clear by itself
    except Exception as error:  # whatever the bytes happen to mean
        if (isinstance(error, OSError) and error.errno is not None) or "out of memory" in str(error).lower():
            raise
        raise ValueError(
            f"{str(path)!r} is no model file as skdual.save writes it, or is damaged or cut short, or refers to a "
            f"function or class that can't be imported here ({type(error).__name__}: {error})."
        ) from error
    return model
