"""HTAD: home tasks recorded by a microphone and a wrist accelerometer."""

from sklearn.utils._param_validation import validate_params

from .archive import LOADER_CONSTRAINTS, load_archive

_DESCR = """\
HTAD, a Home-Tasks Activities Dataset with wrist-accelerometer and audio features.

1386 windows of people doing one of seven tasks at home. Block "audio": 36 mel-frequency cepstral coefficients
(three one-second vectors of twelve). Block "accelerometer": 16 statistics of the wrist's acceleration (means,
standard deviations, maxima and correlations of the axes, magnitude, area, mean difference).

Source: E. Garcia-Ceja, V. Thambawita, S. A. Hicks, D. Jha, P. Jakobsen, H. L. Hammer, P. Halvorsen, M. A. Riegler:
"HTAD: A Home-Tasks Activities Dataset with Wrist-Accelerometer and Audio Features", MultiMedia Modeling (MMM) 2021,
doi:10.1007/978-3-030-67835-7_17. Taken from the Python package multiviewstacking, MIT licence, copyright (c) 2024
Enrique Garcia Ceja (the licence lies beside the data). The authors release the data for research and education, ask
that reports cite the article, and want to be asked before commercial use.
"""


@validate_params(LOADER_CONSTRAINTS, prefer_skip_nested_validation=True)
def load_htad(*, return_X_y=False, as_frame=False):
    """Load HTAD (1386 rows, 36 audio + 16 accelerometer columns, 7 classes).

    Parameters
    ----------
    return_X_y : bool, default=False
        Give ``(data, target)`` in place of the bunch.
    as_frame : bool, default=False
        Give ``data`` as a pandas DataFrame with the feature names as columns, and ``target`` as a Series; needs pandas.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        ``data``, ndarray of float32 or DataFrame of shape (1386, 52); ``target``, ndarray of str or Series of shape
        (1386,), the name of the task; ``target_names``, the seven tasks; ``frame``, with ``as_frame=True`` a DataFrame
        of ``data`` and ``target``, else None; ``feature_names``, list of 52 str such as ``"audio__mfcc1"``; ``blocks``,
        dict name -> slice, for the parameter of that name; ``DESCR``, what the data are, where they come from and under
        which licence.
    (data, target) : tuple
        If ``return_X_y=True``.

    Raises
    ------
    ValueError
        If an argument is no bool.
    ImportError
        If ``as_frame=True`` and pandas is missing.

    Examples
    --------
    >>> from skdual.datasets import load_htad
    >>> htad = load_htad()
    >>> htad.data.shape, htad.blocks
    ((1386, 52), {'audio': slice(0, 36, None), 'accelerometer': slice(36, 52, None)})
    """
    blocks = {"audio": slice(0, 36), "accelerometer": slice(36, 52)}
    return load_archive("htad", blocks=blocks, description=_DESCR, return_X_y=return_X_y, as_frame=as_frame)
