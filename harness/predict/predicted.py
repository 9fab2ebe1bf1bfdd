"""The predictive distribution of a Bayesian network, accumulated pass by pass.

With p_t = softmax(logits of Monte Carlo pass t), t = 1 … T, one image has

    mean probability      p̄ = (1/T) Σ_t p_t
    predictive entropy    H[p̄] = −Σ_c p̄_c log p̄_c
    expected entropy      (1/T) Σ_t H[p_t]
    mutual information    H[p̄] − (1/T) Σ_t H[p_t]

(Gal, "Uncertainty in Deep Learning", 2016, section 3.3.1; Houlsby et al., "Bayesian Active
Learning for Classification and Preference Learning", 2011, equation 2). All in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError
from .halves import Groups, Halves, groups_of


@dataclass(frozen=True, eq=False)
class Summary:
    """What T Monte Carlo passes say about N images and C classes; all tensors float64 on the CPU.

    Attributes:
        T: number of Monte Carlo passes.
        probs: [N, C] mean probabilities p̄, summed in the order of the Monte Carlo index.
        log_probs: [N, C] log p̄ by log-sum-exp over the passes; finite even where p̄ underflows.
        entropy: [N] predictive entropy, nats.
        expected_entropy: [N] mean entropy of the passes, nats.
        mutual_information: [N] nats, or None where it is not defined: one pass, or a network that
            is deterministic.
        predictions: [T, N] the class each pass alone would choose, of equal ones the first; None
            where it was not asked for.
        groups: sums over groups of the passes; None where they were not asked for.
    """

    T: int
    probs: Tensor
    log_probs: Tensor
    entropy: Tensor
    expected_entropy: Tensor
    mutual_information: Tensor | None
    predictions: Tensor | None = None
    groups: Groups | None = None

    @property
    def images(self) -> int:
        """Number of images."""
        return self.probs.shape[0]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.probs.shape[1]

    @property
    def confidence(self) -> Tensor:
        """[N] float64, the largest mean probability max_c p̄_c."""
        return self.probs.amax(dim=-1)

    @property
    def prediction(self) -> Tensor:
        """[N] int64, the class of the largest mean probability; of equal ones the first."""
        return self.probs.argmax(dim=-1)

    @property
    def whole(self) -> Summary:
        """Itself, as `Outcomes.whole`."""
        return self

    def correct(self, labels: Tensor) -> Tensor:
        """[N] bool, whether the prediction is the label. `labels`: [N] integer class indices."""
        return self.prediction == labels

    def nll(self, labels: Tensor) -> Tensor:
        """[N] float64, negative log-likelihood of the labels, nats; `labels` as in `correct`."""
        return -self.log_probs.gather(1, labels.long()[:, None]).flatten()

    def brier(self, labels: Tensor) -> Tensor:
        """[N] float64, Σ_c (p̄_c − 1[c = y])²; `labels` as in `correct`."""
        residual = self.probs.clone()
        residual[range(self.images), labels.long()] -= 1.0
        return residual.square().sum(dim=1)

    def outcomes(self, labels: Tensor | None, whole: bool = False, opening: int = 0) -> Outcomes:
        """One number an image of each kind, which is all that is kept.

        Args:
            labels: [N] integer class indices; None where there are none.
            whole: keep the summary too, without groups.
            opening: keep p̄ of so many images, the first.
        """
        return Outcomes(
            T=self.T,
            classes=self.classes,
            confidence=self.confidence,
            prediction=self.prediction,
            entropy=self.entropy,
            mutual_information=self.mutual_information,
            labels=labels,
            nlls=None if labels is None else self.nll(labels),
            briers=None if labels is None else self.brier(labels),
            opening=self.probs[:opening].clone(),
            halves=None if labels is None or not self.groups else self.groups.halves(labels),
            whole=replace(self, groups=None) if whole else None,
        )

    def check(self, labels: Tensor) -> None:
        """Refuse labels that this summary cannot be scored against.

        Args:
            labels: [N] integer class indices.

        Raises:
            UserError: there is no image, or the labels are not N integers in 0 … C − 1.
        """
        _check(labels, self.images, self.classes)

    @classmethod
    def cat(cls, summaries: Sequence[Summary]) -> Summary:
        """Join summaries of consecutive batches of images, without groups.

        Raises:
            UserError: there is none, or they differ in T, in C or in whether mutual information is
                defined.
        """
        if not summaries:
            raise UserError("There is no batch to join; give a data split of at least one image.")
        kinds = {(s.T, s.classes, s.mutual_information is None) for s in summaries}
        if len(kinds) > 1:
            raise UserError(
                "The batches differ in Monte Carlo passes, in classes or in being deterministic; "
                "join only batches of one run."
            )
        mutual = [s.mutual_information for s in summaries if s.mutual_information is not None]
        chosen = [s.predictions for s in summaries if s.predictions is not None]
        return cls(
            T=summaries[0].T,
            probs=torch.cat([s.probs for s in summaries]),
            log_probs=torch.cat([s.log_probs for s in summaries]),
            entropy=torch.cat([s.entropy for s in summaries]),
            expected_entropy=torch.cat([s.expected_entropy for s in summaries]),
            mutual_information=torch.cat(mutual) if mutual else None,
            predictions=torch.cat(chosen, dim=1) if len(chosen) == len(summaries) else None,
        )


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What scores and records need of a `Summary`, one number an image of each kind: all classes of
    all images would take gigabytes.

    Attributes:
        T: number of Monte Carlo passes.
        classes: number of classes C.
        confidence: as of the summary, and so are the others; [N] float64.
        prediction: [N] int64.
        entropy: [N] float64, nats.
        mutual_information: [N] float64, nats, or None.
        labels: [N] integer class indices, or None where there are none.
        nlls: [N] float64, negative log-likelihood of each label, nats; None without labels.
        briers: [N] float64, Brier score of each image; None without labels.
        opening: [n, C] float64, p̄ of the first images, as many as were asked for.
        halves: what halves of the passes say; None without labels or groups.
        whole: the summary, where it was asked for because a metric needs more.
    """

    T: int
    classes: int
    confidence: Tensor
    prediction: Tensor
    entropy: Tensor
    mutual_information: Tensor | None
    labels: Tensor | None
    nlls: Tensor | None
    briers: Tensor | None
    opening: Tensor
    halves: Halves | None = None
    whole: Summary | None = None

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.prediction)

    def correct(self, labels: Tensor) -> Tensor:
        """See `Summary.correct`."""
        return self.prediction == labels

    def nll(self, labels: Tensor) -> Tensor:
        """See `Summary.nll`; the labels are those of the outcomes."""
        return _of(labels, self.labels, self.nlls)

    def brier(self, labels: Tensor) -> Tensor:
        """See `Summary.brier`; the labels are those of the outcomes."""
        return _of(labels, self.labels, self.briers)

    def check(self, labels: Tensor) -> None:
        """See `Summary.check`."""
        _check(labels, self.images, self.classes)

    @classmethod
    def cat(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Join outcomes of consecutive batches of images, of the same passes: at least one."""
        first = parts[0]

        def joined(name: str) -> Any:
            found = [getattr(part, name) for part in parts]
            return None if found[0] is None else torch.cat(found)

        names = ("confidence", "prediction", "entropy", "mutual_information")
        return cls(
            T=first.T,
            classes=first.classes,
            **{name: joined(name) for name in (*names, "labels", "nlls", "briers", "opening")},
            halves=Halves.cat([p.halves for p in parts if p.halves]) if first.halves else None,
            whole=Summary.cat([p.whole for p in parts if p.whole]) if first.whole else None,
        )


#: What can be scored.
Predicted = Summary | Outcomes


def _of(labels: Tensor, those: Tensor | None, values: Tensor | None) -> Tensor:
    if those is None or values is None or not torch.equal(labels, those):
        raise ValueError("these are not the labels that the outcomes were taken with")
    return values


def _check(labels: Tensor, images: int, classes: int) -> None:
    """See `Summary.check`."""
    if images == 0:
        raise UserError("There is no image to score; give a data split of at least one image.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise UserError(
            f"The labels are {labels.dtype}; give one integer class index for each image."
        )
    if labels.shape != (images,):
        raise UserError(
            f"There are {images} predictions but labels of shape {tuple(labels.shape)}; "
            "give one label for each image."
        )
    outside = ((labels < 0) | (labels >= classes)).nonzero().flatten()
    if len(outside):
        first = int(outside[0])
        raise UserError(
            f"Label {int(labels[first])} of image {first} is outside 0 to {classes - 1}; "
            f"give labels of the {classes} classes that the model predicts."
        )


@dataclass(eq=False)
class Sums:
    """Sums over some passes.

    Attributes:
        probs: [N, C] float64, Σ p_t.
        log_probs: [N, C] float64, log Σ p_t by log-sum-exp.
        entropy: [N] float64, Σ H[p_t], nats.
        passes: how many they are.
    """

    probs: Tensor
    log_probs: Tensor
    entropy: Tensor
    passes: int = 1

    @classmethod
    def of_pass(cls, logits: Tensor) -> Sums:
        """Of one pass, float64 [N, C] on the CPU."""
        log_p = torch.log_softmax(logits, dim=-1)
        p = log_p.exp()
        return cls(p, log_p, -(p * log_p).sum(dim=-1))

    def add(self, other: Sums) -> None:
        """Add other passes, in place."""
        self.probs += other.probs
        torch.logaddexp(self.log_probs, other.log_probs, out=self.log_probs)
        self.entropy += other.entropy
        self.passes += other.passes

    def copy(self) -> Sums:
        """The same, to be added to."""
        return Sums(self.probs.clone(), self.log_probs.clone(), self.entropy.clone(), self.passes)

    def summary(self, deterministic: bool, **others: Any) -> Summary:
        """The predictive distribution of these passes, with what else a summary is to hold."""
        T = self.passes
        probs = self.probs / T
        # Rounding of the log-sum-exp may end an ulp above log 1.
        log_probs = (self.log_probs - math.log(T)).clamp_(max=0.0)
        entropy = -(probs * log_probs).sum(dim=-1)
        expected_entropy = self.entropy / T
        mutual = None
        if T > 1 and not deterministic:
            # Jensen: never negative but for rounding.
            mutual = (entropy - expected_entropy).clamp_(min=0.0)
        return Summary(T, probs, log_probs, entropy, expected_entropy, mutual, **others)


class Predictive:
    """Streaming accumulator of Monte Carlo passes, in memory independent of T.

    Every pass is added by itself and in float64, so the result is the same bit for bit however
    the passes are divided among calls of `update`.

    Args:
        prefixes: the Monte Carlo counts T at which to take a summary, each ≥ 1, such as
            `(1, 10, 50)`; all of them come from the one run.
        deterministic: the network draws no weights, so that mutual information is not defined
            however many passes were made.
        predictions: keep each pass's choices, [T, N]; its probabilities are never kept.
        groups: keep the sums over groups of the passes too, consecutive and of nearly one size
            (`halves.groups_of`), beside the largest prefix: their halves tell the luck of the draw.

    Raises:
        UserError: `prefixes` is empty or holds a count below 1.
    """

    def __init__(
        self,
        prefixes: Sequence[int],
        *,
        deterministic: bool = False,
        predictions: bool = False,
        groups: bool = False,
    ) -> None:
        if not prefixes or min(prefixes) < 1:
            raise UserError(
                f"The Monte Carlo counts are {list(prefixes)}; give one or more, each at least 1."
            )
        self.prefixes = tuple(sorted(set(prefixes)))
        self.deterministic = deterministic
        self.passes = 0
        self._taken: dict[int, Summary] = {}
        self._predictions: list[Tensor] | None = [] if predictions else None
        self._sums: Sums | None = None
        self._groups: list[Sums | None] = [None] * (groups_of(self.prefixes[-1]) * groups)

    def update(self, logits: Tensor) -> None:
        """Add the next passes, in the order of the Monte Carlo index.

        Args:
            logits: [T', N, C] floating point, finite, C ≥ 2; N and C as in earlier calls.

        Raises:
            UserError: the shape does not fit, a logit is NaN or infinite, or there are more passes
                than the largest prefix.
        """
        self._check(logits)
        for one_pass in logits.detach():
            self._add(one_pass.to("cpu", torch.float64).contiguous())

    def summaries(self) -> dict[int, Summary]:
        """The summary at each prefix, ascending.

        Raises:
            UserError: fewer passes were added than the largest prefix.
        """
        if self.passes < self.prefixes[-1]:
            raise UserError(
                f"There are {self.passes} Monte Carlo passes of the {self.prefixes[-1]} that were "
                "asked for; add the rest before taking the summaries."
            )
        return dict(self._taken)

    def _check(self, logits: Tensor) -> None:
        if logits.ndim != 3 or logits.shape[-1] < 2 or not logits.is_floating_point():
            raise UserError(
                f"The logits are {logits.dtype} of shape {tuple(logits.shape)}; give floating "
                "point of shape [passes, images, classes] with at least 2 classes."
            )
        before = logits.shape[1:] if self._sums is None else self._sums.probs.shape
        if logits.shape[1:] != before:
            raise UserError(
                f"The logits have shape {tuple(logits.shape[1:])} a pass where earlier passes have "
                f"{tuple(before)}; give every pass over the same images and classes."
            )
        if self.passes + len(logits) > self.prefixes[-1]:
            raise UserError(
                f"There are {self.passes + len(logits)} Monte Carlo passes where at most "
                f"{self.prefixes[-1]} were asked for; raise the largest count."
            )

    def _add(self, logits: Tensor) -> None:
        if not bool(torch.isfinite(logits).all()):
            raise UserError(
                f"Monte Carlo pass {self.passes} gave a logit that is NaN or infinite; check the "
                "posterior and the input for values that are not finite."
            )
        one = Sums.of_pass(logits)
        if self._groups:
            group = self.passes * len(self._groups) // self.prefixes[-1]
            self._groups[group] = _with(self._groups[group], one)
        self._sums = _with(self._sums, one)
        if self._predictions is not None:
            self._predictions.append(logits.argmax(dim=-1))
        self.passes += 1
        if self.passes in self.prefixes:
            chosen = None if self._predictions is None else torch.stack(self._predictions)
            groups = self._summed() if self.passes == self.prefixes[-1] else None
            self._taken[self.passes] = self._sums.summary(
                self.deterministic, predictions=chosen, groups=groups
            )

    def _summed(self) -> Groups | None:
        found = [group for group in self._groups if group is not None]
        if not found:
            return None
        return Groups(
            [g.probs for g in found], [g.log_probs for g in found], [g.passes for g in found]
        )


def _with(sums: Sums | None, more: Sums) -> Sums:
    """Adds in place, but never to the first one given."""
    if sums is None:
        return more.copy()
    sums.add(more)
    return sums
