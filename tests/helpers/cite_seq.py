"""RNA and surface protein of a few cells, and both as a MuData."""

import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

N = 30
GENES, PROTEINS = ["CD3E", "MS4A1", "LYZ", "NKG7"], ["CD3", "CD19", "CD14"]
CELLS = [f"cell{i}" for i in range(N)]
rng = np.random.default_rng(0)
LABELS = np.array(["B", "Mono", "T"])[np.arange(N) % 3]
COUNTS = rng.poisson(1.0 + 4 * (np.arange(N)[:, None] % 3 == np.arange(4)))
LOGGED = np.log1p(COUNTS).astype(np.float32)
LEVELS = rng.normal(size=(N, 3)).astype(np.float32)


def two_modalities(obs=None, obs_rna=None, obs_protein=None, cells_protein=None):
    """Protein of the last 20 cells in reverse, and of two cells without RNA."""
    cells_protein = [*CELLS[:9:-1], "lone1", "lone2"] if cells_protein is None else cells_protein
    levels = np.array([LEVELS[CELLS.index(cell)] if cell in CELLS else [9, 9, 9] for cell in cells_protein])
    rna = AnnData(sp.csr_matrix(LOGGED), pd.DataFrame(obs_rna or {}, index=CELLS), pd.DataFrame(index=GENES))
    protein = AnnData(levels, pd.DataFrame(obs_protein or {}, index=cells_protein), pd.DataFrame(index=PROTEINS))
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": rna, "prot": protein, "other": AnnData(LEVELS, rna.obs[[]])})
    for name, labels in (obs or {}).items():
        mdata.obs[name] = pd.Series(labels, index=CELLS).reindex(mdata.obs_names)
    return mdata
