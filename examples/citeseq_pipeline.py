"""CITE-seq from counts to cell types: each block with its own preprocessing, inside one pipeline.

RNA counts are scaled to one library size and logged, protein counts turned into centred log-ratios, whose means come
from the training cells only, because they are a step of the pipeline. The data are simulated: 1,500 cells of six types,
one of them 3 per cent. RNA hardly tells CD4 from CD8 T cells, protein not plasmacytoid dendritic cells from monocytes.

Run: pip install ".[omics,plotting]" && python examples/citeseq_pipeline.py [--output citeseq_pipeline.png]
Own data: python examples/citeseq_pipeline.py --data FILE.h5ad [--target cell_type] [--layer counts] [--protein protein]
(RNA counts in X or a layer, protein counts in obsm).
"""

import argparse
from pathlib import Path

import anndata
import matplotlib
import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.compose import ColumnTransformer
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from skdual import DualBranchClassifier
from skdual.omics import from_anndata
from skdual.plotting import EmbeddingDisplay
from skdual.preprocessing import CenteredLogRatio, LogNormalizer

SHARES = {"CD4 T": 0.32, "CD8 T": 0.2, "monocyte": 0.2, "B": 0.14, "NK": 0.11, "pDC": 0.03}
# what of the RNA of a type is its own, and which of the surface proteins it carries
LINEAGES = {"CD4 T": "T", "CD8 T": "T", "monocyte": "myeloid", "B": "B", "NK": "NK", "pDC": "pDC"}
PROTEINS = {
    "CD3": {"CD4 T", "CD8 T"},
    "CD4": {"CD4 T", "monocyte", "pDC"},
    "CD8": {"CD8 T", "NK"},
    "CD14": {"monocyte", "pDC"},
    "CD16": {"NK"},
    "CD19": {"B"},
    "CD45RA": {"CD8 T", "B", "NK"},
    "CD56": {"NK"},
    "HLA-DR": {"B", "monocyte", "pDC"},
    "IgG1": set(),  # a control, which binds nothing
    "IgG2a": set(),
}


def simulate(n_cells=1500, n_genes=2000, random_state=0):
    """AnnData of counts: RNA as CSR in X, protein as DataFrame in obsm, types in obs."""
    rng = np.random.default_rng(random_state)
    types = rng.choice(list(SHARES), size=n_cells, p=list(SHARES.values()))

    def counts(mean, dispersion):
        """Negative binomial: Poisson counts whose rates vary by a gamma factor."""
        return rng.poisson(mean * rng.gamma(1 / dispersion, dispersion, size=mean.shape))

    level = rng.lognormal(-1.5, 1.2, size=n_genes)
    profile = {}
    for lineage in dict.fromkeys(LINEAGES.values()):
        markers = rng.choice(n_genes, size=50, replace=False)
        profile[lineage] = level.copy()
        profile[lineage][markers] *= rng.lognormal(1.3, 0.5, size=50)
    mean = np.vstack([profile[LINEAGES[name]] for name in types]) * rng.lognormal(0, 0.4, size=(n_cells, 1))
    rna = counts(mean, dispersion=0.5)
    rna[rng.random(rna.shape) < np.exp(-2 * mean)] = 0  # dropout, of weak genes most

    background = rng.lognormal(2.3, 0.5, size=len(PROTEINS)) * rng.lognormal(0, 0.5, size=(n_cells, 1))
    carried = np.array([[name in carriers for carriers in PROTEINS.values()] for name in types])
    signal = carried * rng.lognormal(3.2, 0.4, size=len(PROTEINS))
    protein = counts(background, dispersion=0.3) + counts(signal, dispersion=0.4)

    cells = [f"cell{i}" for i in range(n_cells)]
    adata = anndata.AnnData(
        sp.csr_matrix(rna, dtype=np.float32),
        pd.DataFrame({"cell_type": pd.Categorical(types)}, index=cells),
        pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
    )
    adata.obsm["protein"] = pd.DataFrame(protein, columns=list(PROTEINS), index=cells)
    return adata


def make_pipeline(blocks, **params):
    """Counts in, cell types out; ``blocks`` maps "rna" and "protein" to slices that lie side by side."""
    columns = ColumnTransformer(
        [
            ("rna", LogNormalizer(target_sum=1e4), blocks["rna"]),
            ("protein", CenteredLogRatio(), blocks["protein"]),
        ],
        sparse_threshold=1.0,  # CSR stays CSR
    )
    return Pipeline([("columns", columns), ("classify", DualBranchClassifier(blocks, **params))])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="an .h5ad file; simulated cells by default")
    parser.add_argument("--target", default="cell_type", help="column of obs with the labels")
    parser.add_argument("--layer", help="layer with the RNA counts; X by default")
    parser.add_argument("--protein", default="protein", help="key of obsm with the protein counts")
    parser.add_argument("--output", type=Path, default="citeseq_pipeline.png", help="the picture")
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    adata = anndata.read_h5ad(arguments.data) if arguments.data else simulate()
    cite = from_anndata(adata, block_b={"obsm": arguments.protein}, target=arguments.target, layer=arguments.layer)
    X_train, X_test, y_train, y_test = train_test_split(
        cite.data, cite.target, test_size=0.25, stratify=cite.target, random_state=0
    )
    n_genes, n_proteins = (columns.stop - columns.start for columns in cite.blocks.values())
    print(f"{len(y_train)} cells to train on, {len(y_test)} to test on; {n_genes} genes, {n_proteins} proteins")

    pipeline = make_pipeline(cite.blocks, random_state=0).fit(X_train, y_train)
    predicted = pipeline.predict(X_test)
    labels, n_cells = np.unique(y_test, return_counts=True)
    for label, n, f1 in zip(labels, n_cells, f1_score(y_test, predicted, average=None, labels=labels), strict=True):
        print(f"{label!s:22s} {n:4d} cells   F1 {f1:.3f}")
    print(f"{'macro F1':22s} {len(y_test):4d} cells   F1 {f1_score(y_test, predicted, average='macro'):.3f}")
    shares = zip(("both blocks", "RNA alone", "protein alone"), pipeline[-1].block_weights_, strict=True)
    print("weight of the scores by " + ", by ".join(f"{blocks} {share:.2f}" for blocks, share in shares))

    held_out = {"X_held_out": X_test, "y_held_out": y_test}
    display = EmbeddingDisplay.from_estimator(pipeline, X_train, y_train, **held_out, random_state=0)
    display.figure_.savefig(arguments.output, dpi=150)
    print(f"saved {arguments.output}")


if __name__ == "__main__":
    main()
