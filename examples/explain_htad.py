"""What a classifier of home tasks listens to: features, blocks and stages of the network, on rows it has not seen.

Run: pip install ".[inspection,plotting]" && python examples/explain_htad.py [--output explain_htad.png]
"""

import argparse
from pathlib import Path

import matplotlib
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skdual import DualBranchClassifier
from skdual.datasets import load_htad
from skdual.inspection import attributions, block_importance, class_attributions, linear_probe
from skdual.plotting import AttributionDisplay

SETTINGS = {"n_members": 2, "random_state": 0}  # quicker than the default of eight members


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default="explain_htad.png", help="the picture (explain_htad.png)")
    output = parser.parse_args().output
    output.parent.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")  # draws into files, with no window

    htad = load_htad(as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(
        htad.data, htad.target, test_size=0.2, stratify=htad.target, random_state=0
    )
    model = DualBranchClassifier(htad.blocks, **SETTINGS).fit(X_train, y_train)
    print(f"accuracy on {len(X_test)} rows: {model.score(X_test, y_test):.3f}")

    print("\nOne row: what adds most to the score of its class, and what takes most off (integrated gradients)")
    row = X_test.iloc[[0]]
    found = attributions(model, row).iloc[0].sort_values(ascending=False)
    print(f"predicted {model.predict(row)[0]}, true {y_test.iloc[0]}")
    print(found.iloc[[0, 1, 2, -2, -1]].round(2).to_string())

    print("\nEvery task: its three most telling features (mean absolute integrated gradients over its rows)")
    importance = class_attributions(model, X_test, y_test)
    for task in importance:
        features = importance[task].nlargest(3).index.get_level_values("feature")
        print(f"{task:17s} {', '.join(features)}")

    AttributionDisplay.from_estimator(model, X_test).figure_.savefig(output, dpi=150)
    print(f"saved {output}: the features that count most over all rows")

    print("\nBlocks: by how much the log loss rises when a block is shuffled")
    blocks = block_importance(model, X_test, y_test, scoring="neg_log_loss", random_state=0)
    print(blocks.round(3).to_string())

    print("\nStages: accuracy of a logistic regression on what each gives")
    print(linear_probe(model, X_test, y_test).round(3).to_string())

    print("\nLog loss of a fit on either block alone")
    alone = {}
    for name, columns in htad.blocks.items():
        single = DualBranchClassifier(**SETTINGS).fit(X_train.iloc[:, columns], y_train)
        alone[name] = log_loss(y_test, single.predict_proba(X_test.iloc[:, columns]))
        print(f"{name:17s} {alone[name]:.3f}")

    first, best = blocks["mean"].idxmax(), min(alone, key=alone.get)
    print(f"\nmost important block: {first}; better block alone: {best}; they agree: {first == best}")


if __name__ == "__main__":
    main()
