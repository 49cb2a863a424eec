"""Warnings that point at the line that called this package, where whoever reads them can do something about it."""

import os
import sys
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parent) + os.sep  # and no other package whose name begins the same


def warn(message, category=UserWarning):
    """Warn at the first line, from here up, that is not of this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
