"""What the benchmarks conclude from their figures; the figures themselves are no tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="benchmarks need psutil")
pytestmark = pytest.mark.extras
HERE = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True, scope="module")
def _as_a_script():
    """Scripts find their neighbours in their own folder."""
    sys.path.insert(0, str(HERE))
    yield
    sys.path.remove(str(HERE))


def rows(ratio):
    from _measure import Row

    return [Row("csls", "ours", 1.0, 10.0), Row("csls", "theirs", 1.0 / ratio, 20.0, ratio, 0.5)]


def test_a_ratio_that_grew_is_named_and_noise_is_not():
    from _measure import NOISE, slower

    assert slower(rows(0.8), rows(0.8 * NOISE * 0.99)) == []
    (said,) = slower(rows(0.8), rows(0.8 * NOISE * 1.01))
    assert said.startswith("csls: ")
    assert "theirs, which was 0.80 x" in said


def test_a_new_contestant_has_nothing_to_be_compared_with():
    from _measure import slower

    assert slower([], rows(9.0)) == []


def test_a_promise_that_is_missed_is_said():
    import speed

    assert speed.missed(rows(1.05)) == []
    assert speed.missed(rows(1.2)) == ["csls: 1.20 x theirs, promised 1.1 x"]


def test_a_run_comes_back_as_it_was_kept(tmp_path):
    from _measure import Run

    run = Run("2026-01-02", "a machine", "cpu", rows(0.8))
    run.write(tmp_path / "kept" / "run.json")
    assert Run.read(tmp_path / "kept" / "run.json") == run


def test_contestants_take_turns_and_ours_is_the_measure():
    from _measure import Work, take_turns

    order = []
    jobs = {"ours": lambda: order.append("o"), "theirs": lambda: order.append("t")}

    def missing():
        raise ImportError("no such peer")

    work = Work("nothing", lambda device: {**jobs, "absent": missing}, turns=2)
    found = take_turns("nothing", work, "cpu")
    assert "".join(order) == "ot" * 3  # once to warm up
    assert [row.who for row in found] == ["ours", "theirs"]
    assert found[0].time_ratio is None
    assert found[1].time_ratio == pytest.approx(found[0].seconds / found[1].seconds)
