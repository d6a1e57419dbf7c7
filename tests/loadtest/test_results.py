"""Results: the records of a run, added up and written down."""

from pathlib import Path

from loadtest import results
from loadtest.histogram import Histogram
from loadtest.recording import Recorder, curve
from loadtest.results import Check, Result


def a_recorder() -> Recorder:
    recorder = Recorder()
    recorder.answered(0, 1000, "VALID")
    recorder.answered(0, 3000, "VALID")
    recorder.failed(2, 9000, "connection lost")
    return recorder


def a_result(*checks: Check, **more: object) -> Result:
    recorder = a_recorder()
    facts: dict[str, str | results.Number] = {"requests": 3, "answered per second": 1.5, "note": "a note"}
    values = {
        "tool": "openloop",
        "title": "A run",
        "began": "2026-11-22T16:00:00.000Z",
        "settings": {"rate": 3},
        "facts": facts,
        "requests": 3,
        "curve": curve(recorder.whole()),
        "moments": recorder.moments(),
        "outcomes": dict(recorder.outcomes),
        "faults": dict(recorder.faults),
        "checks": list(checks),
    }
    return Result(**(values | more))  # type: ignore[arg-type]  # tests change any field


def test_seconds_without_requests_stand_between_those_with_some() -> None:
    moments = a_recorder().moments()
    assert [(moment.second, moment.requests, moment.faults) for moment in moments] == [(0, 2, 0), (1, 0, 0), (2, 1, 1)]
    assert moments[0].longest == 3.0
    assert moments[1].p99 == 0.0


def test_what_two_processes_saw_is_added_second_by_second() -> None:
    both = a_recorder()
    both.add(a_recorder())
    assert [moment.requests for moment in both.moments()] == [4, 0, 2]
    assert both.outcomes == {"VALID": 4}
    assert both.faults == {"connection lost": 2}
    assert both.whole().count == 6


def test_a_percentile_is_told_only_where_there_are_requests_enough_to_know_it() -> None:
    few = Histogram()
    for value in range(200):
        few.record(value * 1000)
    told = dict(curve(few))
    assert told[99.0] >= 197
    assert 99.9 not in told
    assert told[100.0] == 199
    assert curve(Histogram()) == []


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    result = a_result(Check("p99 in ms", 10, 3.5))
    file = tmp_path / "deep" / "result.json"
    results.write(result, file)
    assert results.read(file) == result


def test_the_table_tells_promises_faults_and_facts() -> None:
    told = results.table(a_result(Check("kept", 1, 1), Check("faults", 0, 7)))
    assert "holds   kept" in told
    assert "BROKEN  faults: 7, at most 0" in told
    assert "connection lost" in told
    assert "answered per second" in told


def test_the_exit_code_is_whether_all_promises_hold(tmp_path: Path) -> None:
    assert results.conclude(a_result(Check("kept", 1, 1)), None, tmp_path) == 0
    assert results.conclude(a_result(Check("kept", 1, 1), Check("broken", 1, 2)), None, tmp_path) == 1
    assert [file.name for file in (tmp_path / "results").iterdir()] == ["openloop-2026-11-22T160000.000Z.json"]
