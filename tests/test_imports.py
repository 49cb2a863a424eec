"""Importing the package loads nothing that is slow to load, or that an extra brings."""

import subprocess
import sys

# torch._dynamo alone takes longer than torch and scikit-learn together
NOT_LOADED = ("torch._dynamo", "matplotlib", "captum", "anndata", "mudata", "h5py", "optuna", "skops", "lightgbm")


def test_importing_skdual_loads_no_more_than_it_needs():
    code = (
        "import sys, skdual, skdual.inspection, skdual.omics, skdual.plotting, skdual.preprocessing\n"
        f"print([name for name in {NOT_LOADED} if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"
