"""Scores at T = 50 on the test split, and bytes on disk."""

from __future__ import annotations

from .common import FORMATS, predictor, prepared


class Quality:
    """Scores of one seed, which do not move unless the code does."""

    version = "1"
    params = (FORMATS,)
    param_names = ("format",)
    timeout = 120

    def setup(self, format: str) -> None:
        from sigmabench.harness.metrics.metric import score
        from sigmabench.harness.predict.loop import evaluate

        split = prepared().splits.test
        summary = evaluate(predictor(format), split, [50])[50]
        self.scores = score(summary, split.labels, ["error", "nll", "ece"])

    def track_error(self, format: str) -> float:
        return self.scores["error"]

    def track_nll(self, format: str) -> float:
        return self.scores["nll"]

    def track_ece(self, format: str) -> float:
        return self.scores["ece"]

    track_error.unit = "%"
    track_nll.unit = "nats"
    track_ece.unit = "%"


class Size:
    """Bytes of the artefact."""

    version = "1"
    params = (FORMATS,)
    param_names = ("format",)

    def track_bytes(self, format: str) -> int:
        from sigmabench.harness.quantize.artefact import to_bytes

        return len(to_bytes(prepared().artefact(format)))

    track_bytes.unit = "bytes"
