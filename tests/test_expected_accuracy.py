"""What a picture's confidence says of its count: fitted, looked up, and shown only where it was measured."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from grain_model.correction import Edit
from grain_model.counting import count_grains
from grain_model.expected_accuracy import CURVES, ExpectedAccuracy, expected_accuracy
from grain_model.fields import CountedField, write_fields
from grain_model.label_settings import DEFAULT_SETTINGS, LabelSettings
from grain_model.report_content import compose_field
from grain_model.ui.card import describe_count
from grain_model.version import WEIGHTS_VERSION
from tests.drawn import draw_grid
from train.expected_accuracy import draw_curves, expected_table, fit_curves

EMBEDDED = {"name": "embedded", "version": WEIGHTS_VERSION}


@pytest.fixture
def counted(sees_drawings, tiny_model):
    return replace(count_grains(draw_grid(4, 5), 0.5, tiny_model), weights=EMBEDDED)


def test_the_curves_that_come_with_the_weights_only_rise_and_fall():
    curves = json.loads(CURVES.read_text())
    assert curves["weights"] == EMBEDDED, "measured of other weights: see train.expected_accuracy"
    for name, sign in (("confidence", 1), ("f1", 1), ("count_error", -1)):
        assert len(curves[name]) == len(curves["confidence"]) and (sign * np.diff(curves[name]) >= 0).all(), name
    assert 0 <= curves["f1"][0] < 0.5 < 0.9 < curves["f1"][-1] <= 1


def test_it_is_looked_up_at_the_median_and_ends_with_the_curves():
    curves = json.loads(CURVES.read_text())
    for at in (0, 3, -1):
        confidence = np.array([0.0, curves["confidence"][at], 1.0])
        found = expected_accuracy(confidence, EMBEDDED, DEFAULT_SETTINGS)
        assert found == ExpectedAccuracy(pytest.approx(curves["f1"][at]), pytest.approx(curves["count_error"][at]))
    lowest, highest = (expected_accuracy(np.full(3, value), EMBEDDED, DEFAULT_SETTINGS) for value in (0.0, 1.0))
    assert (lowest.f1, highest.f1) == (curves["f1"][0], curves["f1"][-1])
    assert str(ExpectedAccuracy(0.814, 0.12)) == "about 81% of grains right, count off by 12%"


@pytest.mark.parametrize(
    ("confidence", "weights", "settings"),
    [
        ([], EMBEDDED, DEFAULT_SETTINGS),
        ([0.9], {"name": "my-model", "version": WEIGHTS_VERSION}, DEFAULT_SETTINGS),
        ([0.9], {"name": "embedded", "version": "c1b0cc2b4920"}, DEFAULT_SETTINGS),
        ([0.9], {"name": "embedded, but other weights than the folder's", "version": None}, DEFAULT_SETTINGS),
        ([0.9], EMBEDDED, LabelSettings("components")),
        ([0.9], EMBEDDED, LabelSettings(boundary_sensitivity=0.7)),
    ],
)
def test_nothing_is_expected_of_what_was_not_measured(confidence, weights, settings):
    assert expected_accuracy(np.array(confidence), weights, settings) is None


def test_page_report_and_files_say_it_until_grains_are_corrected(counted, tmp_path):
    expected = counted.expected_accuracy
    assert counted.summary()["expected_accuracy"] == {"f1": expected.f1, "count_error": expected.count_error}
    assert str(expected) in describe_count(counted)
    assert any(str(expected) in value for _, value in compose_field(counted).facts)
    corrected = counted.correct([Edit("delete", ((20, 20),))])
    assert corrected.expected_accuracy is None and corrected.summary()["expected_accuracy"] is None
    assert "expected accuracy" not in describe_count(corrected)
    write_fields(tmp_path, [CountedField.of(each, "a.png") for each in (counted, corrected)], [])
    column = pd.read_csv(tmp_path / "summary.csv")["expected_f1"]
    assert column[0] == round(expected.f1, 2) and np.isnan(column[1])


def test_curves_follow_the_pictures_and_are_told_beside_those_of_other_materials(tmp_path):
    confidence = np.linspace(0.55, 1, 400)
    noise = np.random.default_rng(0).normal(0, 0.05, 400)
    drawn = pd.DataFrame({"confidence": confidence, "f1": confidence**2 + noise, "count_error": 1 - confidence + noise})
    curves = fit_curves(drawn)
    at = np.array(curves["confidence"])
    assert np.allclose(curves["f1"], at**2, atol=0.03) and np.allclose(curves["count_error"], 1 - at, atol=0.03)
    other = pd.DataFrame({"material": "steel", "confidence": [0.8, 0.9], "f1": [0.5, 0.7], "count_error": [0.3, 0.1]})
    cells = [cell.strip() for cell in expected_table(other, curves).splitlines()[-1].strip("|").split("|")]
    assert cells[:2] == ["steel", "0.85"] and cells[2].endswith(", 0.60") and cells[3].endswith(", 0.20")
    assert float(cells[2].split(",")[0]) == pytest.approx((0.8**2 + 0.9**2) / 2, abs=0.03)
    draw_curves(pd.concat([drawn.assign(material="synthetic-test"), other]), curves, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
