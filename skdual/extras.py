"""Optional libraries, imported when they are first used."""

import importlib


def import_extra(module, *, extra, caller):
    """A module of a library that the package does without until somebody asks for what needs it.

    Parameters
    ----------
    module : str
        Such as ``"matplotlib.pyplot"``.
    extra : str or None
        The extra that brings the library; None where none is meant for it.
    caller : str
        What needs it, such as ``"EmbeddingDisplay.plot"``.

    Raises
    ------
    ImportError
        If it can't be imported, naming what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        wanted = library if extra is None else f'"skdual[{extra}]"'
        raise ImportError(f"{caller} needs {library}; install it with pip install {wanted}.") from error
