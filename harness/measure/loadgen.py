"""MLPerf's LoadGen (package mlcommons-loadgen), in this process: one test, and what its logs say.

LoadGen ends the process that it fails in, and waits for ever for a query that is never answered, so
whoever calls this is a process of its own, with a time limit. MLPerf's settings are read from
LoadGen itself, once in a process: it reads them only the first time.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from ..records.load_record import ACCURACY, Generated
from .load_test import (
    MULTI_STREAM,
    OFFLINE,
    REPORTED,
    SERVER,
    SINGLE_STREAM,
    LoadTest,
    order_statistics,
)
from .system import Answers, Done, SystemUnderTest

PACKAGE = "mlperf_loadgen"
DETAIL, ACCURACY_LOG = "mlperf_log_detail.txt", "mlperf_log_accuracy.json"
_MARK = ":::MLLOG "
_RAN_OUT = "Ending early: Ran out of generated queries"
#: By scenario: its name in LoadGen, and how its settings begin.
_NAMES = {
    SINGLE_STREAM: ("SingleStream", "single_stream_"),
    MULTI_STREAM: ("MultiStream", "multi_stream_"),
    SERVER: ("Server", "server_"),
    OFFLINE: ("Offline", "offline_"),
}
#: What MLPerf leaves to whoever tests.
_FREE = {
    "mode", "scenario", "single_stream_expected_latency_ns", "multi_stream_expected_latency_ns",
    "server_target_qps", "offline_expected_qps", "performance_sample_count_override",
}  # fmt: skip
#: MLPerf has none of our networks: what it sets for all of its own counts.
_MODEL = "sigmabench"
#: What was read of MLPerf's settings, by scenario.
_READ: dict[str, dict[str, float | int]] = {}


def unavailable() -> str | None:
    """Why LoadGen cannot be used here, one sentence; None if it can."""
    if importlib.util.find_spec(PACKAGE) is None:
        return "mlcommons-loadgen is not installed; run `pip install 'sigmabench[loadgen]'`."
    return None


def generate(
    test: LoadTest,
    start: Callable[[Done], SystemUnderTest],
    load: Callable[[Sequence[int]], None],
) -> tuple[Generated, Answers]:
    """Make one test; see `load_test.Generate`.

    Raises:
        UserError: LoadGen wrote no log.
        BaseException: what the system, or loading its images, raised.
    """
    lg = importlib.import_module(PACKAGE)
    settings = _settings(lg, test)
    logs = lg.LogSettings()
    logs.log_output.outdir = str(test.folder)
    logs.enable_trace = False
    failures: list[BaseException] = []
    system = start(lambda numbers, found: _respond(lg, test, numbers, found))

    def loaded(images: Sequence[int]) -> None:
        try:
            load(images)
        except BaseException as failure:  # one that leaves here ends the process
            failures.append(failure)

    sut = lg.ConstructSUT(
        lambda queries: system.issue([(query.id, query.index) for query in queries]), lambda: None
    )
    qsl = lg.ConstructQSL(test.images, test.loaded, loaded, lambda _: load(()))
    lg.StartTestWithLogSettings(sut, qsl, settings, logs, "")
    lg.DestroyQSL(qsl)
    lg.DestroySUT(sut)
    for failure in failures:
        raise failure
    answers = system.close()
    return told(read_log(test.folder), test, settings_of(settings, test), answers), answers


def _respond(lg: Any, test: LoadTest, numbers: Sequence[int], found: NDArray[np.float32]) -> None:
    """Say that queries are answered; the test of accuracy keeps the answers in its log."""
    if test.purpose != ACCURACY:
        lg.QuerySamplesComplete([lg.QuerySampleResponse(number, 0, 0) for number in numbers])
        return
    rows = np.ascontiguousarray(found, "<f4")
    size = rows[0].nbytes
    lg.QuerySamplesComplete(
        [
            lg.QuerySampleResponse(number, rows.ctypes.data + place * size, size)
            for place, number in enumerate(numbers)
        ]
    )


def _settings(lg: Any, test: LoadTest) -> Any:
    """MLPerf's, with what the test has otherwise."""
    name, start = _NAMES[test.scenario]
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, name)
    for key, value in mlperf_settings(test).items():
        setattr(settings, key, value)
    accuracy = test.purpose == ACCURACY
    settings.mode = lg.TestMode.AccuracyOnly if accuracy else lg.TestMode.PerformanceOnly
    settings.min_duration_ms = round(1e3 * test.seconds)
    settings.min_query_count = test.queries
    settings.performance_sample_count_override = 0
    if test.scenario in (SINGLE_STREAM, MULTI_STREAM):
        # Half of what is expected: of a system that turns out faster queries would run out.
        setattr(settings, f"{start}expected_latency_ns", max(1, round(test.query_ns / 2)))
    if test.scenario == SERVER:
        settings.server_target_qps = test.rate
        settings.server_target_latency_ns = test.latency_ns
    if test.scenario == OFFLINE:
        settings.offline_expected_qps = 1.3 * test.rate
    else:
        setattr(settings, f"{start}target_latency_percentile", test.percentile)
    if test.scenario == MULTI_STREAM:
        settings.multi_stream_samples_per_query = test.samples
    return settings


def mlperf_settings(test: LoadTest) -> Mapping[str, float | int]:
    """MLPerf's settings of a test's scenario, by their names, as this LoadGen has them.

    Raises:
        UserError: LoadGen cannot tell them.
        ValueError: this process has asked for those of another scenario.
    """
    if _READ and test.scenario not in _READ:
        raise ValueError("a process tells the settings of one scenario")
    if not _READ:
        lg = importlib.import_module(PACKAGE)
        settings = lg.TestSettings()
        name, _ = _NAMES[test.scenario]
        settings.scenario = getattr(lg.TestScenario, name)
        empty = test.folder / "user.conf"  # LoadGen wants one to read beside its own
        empty.touch()
        if settings.FromConfig(str(empty), _MODEL, name, 1):
            raise UserError(
                f"LoadGen does not tell MLPerf's settings of {name}; install another version of "
                "mlcommons-loadgen."
            )
        empty.unlink()
        _READ[test.scenario] = settings_of(settings, test)
    return _READ[test.scenario]


def settings_of(settings: Any, test: LoadTest) -> dict[str, float | int]:
    """Settings that matter to a test's scenario, by their names in LoadGen."""
    others = tuple(start for name, (_, start) in _NAMES.items() if name != test.scenario)
    names = [name for name in dir(settings) if not name.startswith(("_", "test05", *others))]
    values = {name: getattr(settings, name) for name in names}
    return {
        name: int(value) if isinstance(value, bool) else value
        for name, value in values.items()
        if isinstance(value, int | float)
    }


def read_log(folder: Path) -> dict[str, Any]:
    """What LoadGen's detailed log says, the last of each key; errors are in a list, but for that it
    ran out of queries, which `result_min_duration_met` says.

    Raises:
        UserError: there is none, or it is not as LoadGen writes it.
    """
    try:
        lines = (folder / DETAIL).read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK)]
        errors = [str(e["value"]) for e in entries if e["metadata"].get("is_error")]
        errors = [error for error in errors if not error.startswith(_RAN_OUT)]
        found = {entry["key"]: entry["value"] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as reason:
        raise UserError(
            f"LoadGen's log {folder / DETAIL} cannot be read ({reason}); measure again."
        ) from None
    return {**found, "errors": errors}


def told(
    log: Mapping[str, Any], test: LoadTest, settings: Mapping[str, float | int], answers: Answers
) -> Generated:
    """What one test says.

    Args:
        log: of it, see `read_log`.
        test: that it was.
        settings: that it had.
        answers: of the system.
    """
    performance = test.purpose != ACCURACY
    validity = log.get("result_validity")
    own = answers.service_ns if performance and test.scenario != OFFLINE else []
    shown = "per_query_" if test.scenario == MULTI_STREAM else ""
    latency = {p: log.get(f"result_{p}_percentile_{shown}latency_ns") for p in REPORTED}
    late = log.get("result_overlatency_query_count")
    sent = log.get("result_scheduled_samples_per_sec")
    rate = log.get("result_completed_samples_per_sec", log.get("result_samples_per_second"))
    return Generated(
        purpose=test.purpose,
        rate=test.rate,
        valid=None if validity is None or not performance else validity == "VALID",
        duration_met=_flag(log, "result_min_duration_met"),
        queries_met=_flag(log, "result_min_queries_met"),
        early_stopping_met=_flag(log, "early_stopping_met"),
        latency_met=_flag(log, "result_perf_constraints_met"),
        early_stopping=" ".join(str(log.get("early_stopping_result", "")).split()),
        queries=int(log.get("result_query_count", len(answers.image) // test.samples)),
        samples=len(answers.image),
        late=None if late is None else int(late),
        percentiles_ns={p: float(ns) for p, ns in latency.items() if ns is not None},
        own_percentiles_ns=order_statistics(own),
        samples_per_second=None if rate is None else float(rate),
        sent_per_second=None if sent is None else float(sent),
        errors=tuple(log["errors"]),
        settings=dict(settings),
        mlperf=_otherwise(settings, mlperf_settings(test)),
        percentile=test.percentile if performance else 0.0,
        version=str(log.get("loadgen_version", "")),
        logs=test.folder.name,
    )


def _flag(log: Mapping[str, Any], key: str) -> bool | None:
    value = log.get(key)
    return None if value is None else bool(value)


def _otherwise(
    settings: Mapping[str, float | int], mlperf: Mapping[str, float | int]
) -> dict[str, float | int]:
    """MLPerf's values of settings that a test has otherwise."""
    return {
        name: value
        for name, value in mlperf.items()
        if name not in _FREE and settings.get(name) != value
    }


def read_answers(folder: Path, images: int) -> NDArray[np.float32]:
    """Answers of a test of accuracy, float32 [images, C], from LoadGen's log.

    Raises:
        UserError: the log has another number of answers, or is not as LoadGen writes it.
    """
    path = folder / ACCURACY_LOG
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        rows = {
            int(entry["qsl_idx"]): np.frombuffer(bytes.fromhex(entry["data"]), "<f4")
            for entry in entries
        }
        found = np.stack([rows[image] for image in range(images)])
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise UserError(
            f"LoadGen's log {path} does not hold one answer for each of {images} images "
            f"({reason}); measure again."
        ) from None
    return found
