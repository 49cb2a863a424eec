"""Libraries that only inspection needs, imported when they are first used."""

import importlib


def import_extra(name):
    """A module of the extra ``inspection``.

    Raises
    ------
    ImportError
        If it is not installed, naming the extra.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        library = name.partition(".")[0]
        raise ImportError(
            f'skdual.inspection needs {library}; install it with pip install "skdual[inspection]".'
        ) from error
