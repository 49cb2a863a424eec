import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from cite_seq import CELLS, COUNTS, GENES, LABELS, LEVELS, LOGGED, PROTEINS, N


@pytest.fixture
def cite():
    """RNA as CSR in X, counts in a layer, protein in obsm as DataFrame and as array."""
    adata = AnnData(
        sp.csr_matrix(LOGGED),
        pd.DataFrame({"cell_type": pd.Categorical(LABELS), "number": np.arange(N)}, index=CELLS),
        pd.DataFrame({"highly_variable": [True, False, True, True]}, index=GENES),
    )
    adata.layers["counts"] = sp.csr_matrix(COUNTS)
    adata.obsm["protein"] = pd.DataFrame(LEVELS, columns=PROTEINS, index=CELLS)
    adata.obsm["levels"] = LEVELS
    return adata
