"""A pipeline with a preprocessing for each block, tuned by GridSearchCV, on HTAD.

Run: python examples/grid_search.py
"""

from sklearn.compose import ColumnTransformer
from sklearn.metrics import classification_report
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from skdual import DualBranchClassifier, from_prefix
from skdual.datasets import load_htad


def main():
    htad = load_htad(as_frame=True)
    X_train, X_test, y_train, y_test = train_test_split(
        htad.data, htad.target, test_size=0.2, stratify=htad.target, random_state=0
    )
    audio, accelerometer = (list(htad.data.columns[columns]) for columns in htad.blocks.values())
    columns = ColumnTransformer(
        [
            ("audio", StandardScaler(), audio),
            ("accelerometer", QuantileTransformer(output_distribution="normal", n_quantiles=200), accelerometer),
        ]
    )
    pipeline = Pipeline(
        [
            ("columns", columns.set_output(transform="pandas")),
            ("classify", DualBranchClassifier(from_prefix("audio__", "accelerometer__"), random_state=0)),
        ]
    )
    search = GridSearchCV(
        pipeline,
        {
            "classify__contrastive_weight": [0.0, 0.5],
            "classify__temperature": [0.1],
            "classify__subspace_dim": [2, 4],
            "classify__learning_rate": [1e-3, 3e-3],
            "classify__max_epochs": [15],
        },
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        scoring="f1_macro",
        n_jobs=2,
    )
    search.fit(X_train, y_train)
    results = search.cv_results_
    for rank in range(1, len(results["params"]) + 1):
        for index in (results["rank_test_score"] == rank).nonzero()[0]:
            chosen = {name.removeprefix("classify__"): value for name, value in results["params"][index].items()}
            mean, spread = results["mean_test_score"][index], results["std_test_score"][index]
            print(f"macro F1 {mean:.3f} +- {spread:.3f}  {chosen}")

    best = search.best_estimator_.set_params(classify__max_epochs="auto").fit(X_train, y_train)
    print(f"\nthe best, fitted with max_epochs='auto', on {len(y_test)} rows held out:")
    print(classification_report(y_test, best.predict(X_test), digits=3))


if __name__ == "__main__":
    main()
