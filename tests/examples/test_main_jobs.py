"""The main jobs of the README run as their users run them."""

import pytest
from run_example import run


@pytest.mark.slow
def test_quickstart_gains_from_both_blocks_and_predicts_the_same_after_loading():
    printed = run("quickstart.py")
    f1 = {line.split("  ")[0]: float(line.split()[-1]) for line in printed.splitlines() if "macro F1" in line}
    assert list(f1) == ["audio alone", "accelerometer alone", "both blocks"]
    assert f1["both blocks"] > 0.9
    assert f1["both blocks"] > max(f1["audio alone"], f1["accelerometer alone"])
    assert "same probabilities: True" in printed


@pytest.mark.slow
def test_multiomics_names_the_classes():
    printed = run("multiomics.py")
    assert "branches (256, 128) and (256, 128)" in printed
    assert float(printed.split()[-1]) > 0.8  # four classes: 0.25 by chance, 0.5 by one block
