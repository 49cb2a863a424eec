"""Successive halving on HTAD: many candidates train for a few epochs, the better ones for more.

Run: python examples/halving_search.py
"""

from sklearn.experimental import enable_halving_search_cv as enable_halving_search_cv  # for HalvingGridSearchCV
from sklearn.metrics import f1_score
from sklearn.model_selection import HalvingGridSearchCV, StratifiedKFold, train_test_split

from skdual import DualBranchClassifier
from skdual.datasets import load_htad


def main():
    htad = load_htad()
    X_train, X_test, y_train, y_test = train_test_split(
        htad.data, htad.target, test_size=0.2, stratify=htad.target, random_state=0
    )
    search = HalvingGridSearchCV(
        DualBranchClassifier(htad.blocks, n_members=1, random_state=0),  # one network a candidate
        {
            "learning_rate": [5e-4, 2e-3, 1e-2],
            "contrastive_weight": [0.0, 1.0],
            "subspace_dim": [2, 8],
        },
        resource="max_epochs",
        min_resources=2,
        max_resources=18,
        factor=3,
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        scoring="f1_macro",
        refit=False,
    )
    search.fit(X_train, y_train)
    results = search.cv_results_
    for index in range(len(results["params"])):
        chosen = dict(results["params"][index])
        epochs = chosen.pop("max_epochs")
        print(f"{epochs:2d} epochs  macro F1 {results['mean_test_score'][index]:.3f}  {chosen}")
    print(f"\ncandidates of each round: {search.n_candidates_}, epochs of each: {search.n_resources_}")

    model = DualBranchClassifier(htad.blocks, **search.best_params_, random_state=0).fit(X_train, y_train)
    score = f1_score(y_test, model.predict(X_test), average="macro")
    print(f"the best, fitted with all members: macro F1 {score:.3f} on {len(y_test)} rows held out")


if __name__ == "__main__":
    main()
