"""Model files: complete or not there, of the size of the weights, and readable without trust."""

import gzip
import lzma
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import joblib
import numpy as np
import pytest
import skops.io
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skops.io.exceptions import UntrustedTypesFoundException

import skdual
from skdual import DualBranchClassifier

TRUSTED = ["skdual.estimator.DualBranchClassifier"]


@pytest.fixture(scope="module")
def fitted(two_blocks, quick):
    return DualBranchClassifier(**quick).fit(*two_blocks)


@pytest.fixture
def kept(fitted, tmp_path):
    """A file of a fitted model, alone in its folder, and its bytes."""
    skdual.save(fitted, tmp_path / "model.joblib")
    return tmp_path / "model.joblib", (tmp_path / "model.joblib").read_bytes()


class Unwritable(BaseEstimator):
    def __init__(self, error, ballast=None):
        self.error = error
        self.ballast = ballast

    def __getstate__(self):
        raise self.error


@pytest.mark.parametrize("kind", ["estimator", "pipeline", "search"])
def test_what_is_saved_is_loaded(two_blocks, quick, tmp_path, kind):
    X, y = two_blocks
    model = DualBranchClassifier(**quick)
    if kind == "pipeline":
        model = make_pipeline(StandardScaler(), model)
    elif kind == "search":
        model = GridSearchCV(model, {"temperature": [0.1, 0.5]}, cv=2)
    model.fit(X, y)
    skdual.save(model, str(tmp_path / "model"))
    again = skdual.load(tmp_path / "model")
    assert type(again) is type(model)
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_good_file_and_no_other(fitted, kept, error):
    path, content = kept
    with pytest.raises(type(error)):
        skdual.save(make_pipeline(FunctionTransformer(kw_args={"ballast": np.zeros(100_000)}), Unwritable(error)), path)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("thing", [[3], {"model": None}, 3, DualBranchClassifier], ids=str)
def test_what_could_not_be_loaded_is_not_saved(kept, thing):
    path, content = kept
    with pytest.raises(TypeError, match=f"model must be an estimator, got {type(thing).__name__}"):
        skdual.save(thing, path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["m" * 255, "\u00e4" * 127], ids=["ascii", "two bytes a letter"])
def test_the_longest_names_that_a_file_can_have(fitted, tmp_path, name):
    skdual.save(fitted, tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_a_file_that_cannot_take_its_place_is_taken_away(fitted, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OSError, match="model"):
        skdual.save(fitted, tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]


def test_what_is_no_plain_file_is_not_replaced(fitted, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match=r"path must be new or a regular file.*fifo"):
        skdual.save(fitted, tmp_path / "fifo")
    assert (tmp_path / "fifo").is_fifo()
    with pytest.raises(IsADirectoryError, match="models/"):
        skdual.save(fitted, f"{tmp_path}/models/")
    assert os.listdir(tmp_path) == ["fifo"]


@pytest.mark.parametrize("path", [None, 3, b"model"], ids=str)
def test_what_is_no_path_is_refused(fitted, path):
    for call in (skdual.load, lambda path: skdual.save(fitted, path)):
        with pytest.raises(TypeError, match=f"path must be a str or path-like, got {type(path).__name__}"):
            call(path)


def test_where_nothing_can_be_saved_is_said_by_the_users_own_path(fitted, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"path must be in a folder that exists: '.*/no/model'"):
        skdual.save(fitted, tmp_path / "no" / "model")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="loop"):
        skdual.save(fitted, tmp_path / "loop")
    (tmp_path / "model").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # the superuser may write to all
    with pytest.raises(PermissionError, match="path may not be written to"):
        skdual.save(fitted, tmp_path / "model")
    assert sorted(os.listdir(tmp_path)) == ["loop", "model"]
    assert (tmp_path / "model").stat().st_size == 0


def test_a_private_file_is_private_while_it_is_written(fitted, kept, monkeypatch):
    path, _ = kept
    path.chmod(0o600)
    modes, dump = [], joblib.dump

    def spy(model, file):
        modes.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        return dump(model, file)

    monkeypatch.setattr(joblib, "dump", spy)
    skdual.save(fitted, path)
    assert modes == [0o600] == [stat.S_IMODE(path.stat().st_mode)]


def test_a_save_that_is_killed_leaves_the_good_file(kept):
    path, content = kept
    code = (
        "import sys, time, numpy as np, skdual\n"
        "from sklearn.preprocessing import FunctionTransformer\n"
        "class Slow:\n"
        "    def __getstate__(self):\n"
        "        time.sleep(60)\n"
        "skdual.save(FunctionTransformer(kw_args={'a': np.ones(1_000_000), 'b': Slow()}), sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, path])
    try:
        while not any(file.stat().st_size > 4_000_000 for file in path.parent.iterdir()):
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert path.read_bytes() == content
    others = set(os.listdir(path.parent)) - {path.name}
    assert all(name.startswith(".model.joblib.") and name.endswith(".partial") for name in others)
    skdual.load(path)


def test_the_content_is_on_the_disk_before_it_takes_its_place(fitted, kept, monkeypatch):
    path, content = kept
    steps = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: steps.append(os.fstat(descriptor).st_size))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *files: (steps.append("replace"), replace(*files)))
    skdual.save(fitted, path)
    assert steps == [len(content), "replace"]


def test_modes_and_links_stay(fitted, kept, tmp_path_factory):
    path, _ = kept
    (path.parent / "plain").touch()
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode
    path.chmod(0o640)
    link = tmp_path_factory.mktemp("elsewhere") / "link"
    link.symlink_to(path)
    skdual.save(fitted, link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(link.parent) == ["link"]


def test_a_file_is_little_larger_than_the_weights(two_blocks, quick, tmp_path):
    X, y = (np.concatenate(25 * [rows]) for rows in two_blocks)
    changed = {"hidden_layer_sizes": ((512, 64), (256, 64)), "memory_bank_size": 1000, "max_epochs": 2}
    model = DualBranchClassifier(**(quick | changed)).fit(X, y)
    skdual.save(model, tmp_path / "model")
    weights = sum(tensor.nbytes for tensor in model.network_.state_dict().values())
    assert weights > 10 * X.shape[0] * 4  # a number kept of every row would show
    assert weights < (tmp_path / "model").stat().st_size < weights + 2 * X.shape[0]


def test_a_newer_format_is_refused_by_its_numbers(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("skdual.serialization.FORMAT", 7)
    skdual.save(make_pipeline(fitted), tmp_path / "model")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"^the saved model has format 7 .*this skdual reads up to 1; upgrade skdual"):
        skdual.load(tmp_path / "model")


def cut(content):
    return content[: len(content) // 2]


NO_MODELS = {
    "empty": lambda content: b"",
    "half": cut,
    "first bytes": lambda content: content[:40],
    "text": lambda content: b"hello world\n",
    "csv": lambda content: b"col1,col2\n1,2\n",
    "json": lambda content: b'{"a": 1}',
    "noise": lambda content: np.random.default_rng(0).bytes(3000),
    "half of gzip": lambda content: cut(gzip.compress(content)),
    "half of xz": lambda content: cut(lzma.compress(content)),
    "no gzip": lambda content: b"\x1f\x8b" + bytes(100),
    "zip": lambda content: b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("damage", NO_MODELS.values(), ids=NO_MODELS.keys())
@pytest.mark.parametrize("given", [str, Path], ids=["str", "path"])
def test_a_file_that_holds_no_model_is_refused_by_its_path(kept, damage, given):
    path, content = kept
    path.write_bytes(damage(content))
    with pytest.raises(ValueError, match=rf"^{re.escape(repr(str(path)))} is no model file .*damaged or cut short"):
        skdual.load(given(path))


def test_a_file_of_something_else_is_no_model(tmp_path):
    joblib.dump([1, 2], tmp_path / "model")
    with pytest.raises(ValueError, match=r"model' is no model file .*holds an object of type list"):
        skdual.load(tmp_path / "model")


def test_a_model_that_needs_a_function_from_elsewhere(two_blocks, quick, tmp_path, monkeypatch):
    module = ModuleType("notebook")
    exec(
        "def first_seven(X):\n    return list(range(7))\n\ndef others(X):\n    return list(range(7, 12))", vars(module)
    )
    monkeypatch.setitem(sys.modules, "notebook", module)
    params = quick | {"blocks": (module.first_seven, module.others)}
    skdual.save(DualBranchClassifier(**params).fit(*two_blocks), tmp_path / "model")
    assert skdual.load(tmp_path / "model").blocks == params["blocks"]
    monkeypatch.delattr(module, "others")
    with pytest.raises(ValueError, match=r"refers to a function or class that can't be imported here .*'others'"):
        skdual.load(tmp_path / "model")


def test_a_file_with_another_networks_weights_is_damaged(fitted, tmp_path):
    state = fitted.__getstate__()
    state["_saved"]["weights"].pop("head.log_scale")
    broken = DualBranchClassifier.__new__(DualBranchClassifier)
    broken.__dict__.update(state)
    joblib.dump(broken, tmp_path / "model")
    with pytest.raises(ValueError, match=r"(?s)model' is no model file .*head\.log_scale"):
        skdual.load(tmp_path / "model")


def test_a_state_that_lacks_its_parts_is_damaged(fitted, tmp_path):
    state = fitted.__getstate__()
    del state["_saved"]["weights"]
    broken = DualBranchClassifier.__new__(DualBranchClassifier)
    broken.__dict__.update(state)
    joblib.dump({"model": broken}, tmp_path / "model")
    with pytest.raises(ValueError, match=r"model' is no model file .*KeyError: 'weights'"):
        skdual.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes_": None}, "has no classes_"),
        ({"classes_": np.array(["left", "right"])}, "columns and classes .* are not those of its network"),
        ({"block_indices_": (np.arange(7), np.arange(8, 13))}, "columns that are not among its 12"),
        ({"block_indices_": (np.arange(6), np.arange(7, 12))}, "columns and classes .* are not those of its network"),
    ],
    ids=["no classes", "other classes", "columns beyond", "fewer columns"],
)
def test_attributes_that_do_not_go_with_the_network_are_damage(fitted, tmp_path, change, message):
    state = {name: value for name, value in (fitted.__getstate__() | change).items() if value is not None}
    broken = DualBranchClassifier.__new__(DualBranchClassifier)
    broken.__dict__.update(state)
    joblib.dump(broken, tmp_path / "model")
    with pytest.raises(ValueError, match=f"(?s)model' is no model file .*{message}"):
        skdual.load(tmp_path / "model")


def test_a_file_that_is_not_there_or_none_stays_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        skdual.load(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        skdual.load(tmp_path)


def test_a_function_that_a_file_names_is_not_called(fitted, tmp_path):
    """A forged file names one where the net takes the class of its optimizer."""
    state = fitted.__getstate__()
    forged = DualBranchClassifier.__new__(DualBranchClassifier)
    function = {"optimizer": np.save}
    settings = fitted._settings | {"net": fitted._settings["net"] | function, "net_params": function}
    forged.__dict__.update(state | {"_settings": settings})
    skops.io.dump(forged, tmp_path / "model.skops")
    listed = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
    loaded = skops.io.load(tmp_path / "model.skops", trusted=listed)
    assert type(loaded.net_.optimizer_).__name__ == "AdamW"


def test_skops_needs_one_type_of_ours(two_blocks, quick, tmp_path):
    X, y = two_blocks
    model = make_pipeline(StandardScaler(), DualBranchClassifier(**quick)).fit(X, y)
    skops.io.dump(model, tmp_path / "model.skops")
    assert skops.io.get_untrusted_types(file=tmp_path / "model.skops") == TRUSTED
    with pytest.raises(UntrustedTypesFoundException):
        skops.io.load(tmp_path / "model.skops")
    again = skops.io.load(tmp_path / "model.skops", trusted=TRUSTED)
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again[-1].history_ == model[-1].history_
