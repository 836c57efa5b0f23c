"""The benchmark of disturbances: what it draws, and its table; and what all benchmarks refuse."""

import numpy as np
import pytest

from benchmarks import disturbances, metrology, speed
from benchmarks.disturbances import DISTURBANCES, main
from train.synthesis import synthesize_micrograph


@pytest.fixture(scope="module")
def drawn():
    return synthesize_micrograph(1, 400, family="etched", diameter=(30.0, 30.0))


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_disturbed_picture_still_has_its_labels(name, drawn):
    image, labels = DISTURBANCES[name](drawn.image.astype(np.float32), drawn.labels, np.random.default_rng(0))
    assert image.shape == (*labels.shape, 3) and labels.dtype == np.int32
    assert 0.4 * drawn.labels.max() < len(np.unique(labels)) - 1
    assert (name == "none") == np.array_equal(image, drawn.image)


def test_table_has_a_row_a_disturbance(tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.disturbances.load_model", lambda source: tiny_model)
    assert main(["--pictures", "1", "--out", str(tmp_path / "table.md")]) == 0
    written = (tmp_path / "table.md").read_text()
    assert written in capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in written.splitlines()[2:]] == list(DISTURBANCES)


@pytest.mark.parametrize(
    "benchmark, option, value, complaint",
    [
        (disturbances, "--pictures", "-1", "whole number"),
        (disturbances, "--model", "/nosuch", "no model folder '/nosuch'"),
        (metrology, "--count", "0", "whole number"),
        (metrology, "--side", "5", "At least 100 px"),
        (speed, "--repeats", "0", "whole number"),
        (speed, "--model", "/nosuch", "no model folder '/nosuch'"),
    ],
)
def test_wrong_usage_exits_with_2(benchmark, option, value, complaint, capsys):
    with pytest.raises(SystemExit) as stopped:
        benchmark.main([option, value])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_told_before_the_counting(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(disturbances, "load_model", lambda source: None)
    monkeypatch.setattr(disturbances, "count_grains", lambda *_, **__: pytest.fail("counted"))
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "missing" / "table.md")])
    assert "cannot be written to" in capsys.readouterr().err
