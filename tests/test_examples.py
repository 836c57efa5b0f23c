"""What lies in the tree as drawn or measured follows from the synthesiser as it is now."""

import csv

import cv2
import numpy as np
import pandas as pd
import pytest

from train import examples, expected_accuracy, model_card
from train.examples import EXAMPLES, FOLDER, draw_examples
from train.matching import prepare_labels
from train.paths import REPORTS
from train.synthesis import synthesize_micrograph


@pytest.fixture(scope="module")
def drawn():
    return draw_examples()


def test_committed_examples_and_their_counts_are_those_that_are_drawn(drawn):
    with (FOLDER / "counts.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert list(rows) == [f"{name}.png" for name in drawn]
    for name, family, seed in EXAMPLES:
        row, micrograph = rows[f"{name}.png"], drawn[name]
        assert (row["family"], int(row["seed"])) == (family, seed)
        # Another processor rounds another way, which may decide over one faint boundary.
        assert abs(int(row["count"]) - micrograph.labels.max()) <= 1
        committed = cv2.imread(str(FOLDER / f"{name}.png"))[..., ::-1]
        assert np.abs(committed.astype(int) - micrograph.image).mean() < 1


def test_reported_true_counts_are_those_that_are_drawn():
    report = pd.read_csv(REPORTS / "instances.csv", dtype={"picture": str})
    synthetic = report[report["material"] == "synthetic-test"].drop_duplicates("picture").set_index("picture")
    for seed in (5000000, 5000007, 5000019):
        true = prepare_labels(synthesize_micrograph(seed, 320).labels)
        assert synthetic.loc[str(seed), "n_true"] == pytest.approx(np.unique(true[true > 0]).size, abs=2)


@pytest.mark.parametrize("module", [examples, expected_accuracy, model_card])
def test_help_rewrites_nothing(module, capsys):
    with pytest.raises(SystemExit) as stopped:
        module.main(["--help"])
    assert stopped.value.code == 0
    assert module.__name__ in capsys.readouterr().out
