"""What the benchmarks conclude from their figures; the figures themselves are no tests."""

from __future__ import annotations

import multiprocessing
import os
import sys
from dataclasses import replace
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


def test_memory_that_grew_is_named_too():
    from _measure import NOISE, slower

    kept = rows(0.8)

    def with_memory(grown):
        return [kept[0], replace(kept[1], memory_ratio=0.5 * grown)]

    assert slower(kept, with_memory(NOISE * 0.99)) == []
    (said,) = slower(kept, with_memory(NOISE * 1.01))
    assert said == "csls: 0.68 x the memory of theirs, which was 0.50 x in the kept run"


def test_a_contestant_that_left_is_named_and_work_that_was_not_run_is_not():
    from _measure import slower

    kept = rows(0.8)
    assert slower(kept, kept[:1]) == ["csls: theirs is in the kept run and was not measured now"]
    assert slower([*kept, replace(kept[1], work="other")], kept) == []


def test_a_new_contestant_has_nothing_to_be_compared_with():
    from _measure import slower

    assert slower([], rows(9.0)) == []


def test_a_promise_that_is_missed_is_said():
    import speed

    assert speed.missed(rows(1.05)) == []
    assert speed.missed(rows(1.2)) == ["csls: 1.20 x theirs, promised 1.1 x"]


def test_a_process_that_ends_without_a_result_is_not_waited_for():
    import speed

    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=os._exit, args=(7,), name="csls")
    process.start()
    with pytest.raises(RuntimeError, match="csls ended with exit code 7 and no result"):
        speed.answer_of(process, results, pause=0.05)
    process.join()


def test_what_a_process_sent_before_its_end_is_taken():
    import speed

    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=results.put, args=("rows",))
    process.start()
    process.join()
    assert speed.answer_of(process, results, pause=0.05) == "rows"


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


def test_what_a_day_measures_again_replaces_what_it_had(tmp_path, monkeypatch):
    import speed
    from _measure import Row, Run

    (tmp_path / "RESULTS.md").write_text("# Results\n\n## 2025-01-01, older\n\nkept\n")
    monkeypatch.setattr(speed, "HERE", tmp_path)
    other = [Row("import", "ours", 1.0, 1.0), Row("import", "theirs", 2.0, 1.0, 0.5, 1.0)]
    speed.keep(Run("2026-01-02", "a machine", "cpu", rows(0.8) + other))
    speed.keep(Run("2026-01-02", "a machine", "cpu", rows(0.5)))
    kept = Run.read(tmp_path / "kept" / "2026-01-02-cpu.json")
    assert {(row.work, row.time_ratio) for row in kept.rows[1::2]} == {
        ("csls", 0.5),
        ("import", 0.5),
    }
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.startswith(
        "# Results\n\n## 2025-01-01, older\n\nkept\n\n## 2026-01-02, speed, cpu\n"
    )
    assert text.count("## 2026-01-02") == 1
    assert "0.80" not in text
