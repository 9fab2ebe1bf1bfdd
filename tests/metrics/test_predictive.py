from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import make_logits, summarise
from scipy.special import log_softmax, logsumexp, rel_entr, softmax
from torch import Tensor

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.metrics.metric import score
from sigmabench.harness.predict.halves import GROUPS, halvings
from sigmabench.harness.predict.predicted import Outcomes, Predictive, Summary

FIELDS = ("probs", "log_probs", "entropy", "expected_entropy", "mutual_information")


def assert_same_bits(a: Summary, b: Summary) -> None:
    assert a.T == b.T
    for field in FIELDS:
        x, y = getattr(a, field), getattr(b, field)
        assert (x is None and y is None) or torch.equal(x, y), field


def test_agrees_with_scipy_on_all_passes_at_once() -> None:
    logits = make_logits(0, T=20, N=50, C=6)
    summary = summarise(logits)
    x = logits.double().numpy()
    p = softmax(x, axis=-1)
    mean = p.mean(0)
    np.testing.assert_allclose(summary.probs, mean, rtol=1e-13)
    np.testing.assert_allclose(
        summary.log_probs, logsumexp(log_softmax(x, -1), axis=0) - np.log(20), rtol=1e-12
    )
    np.testing.assert_allclose(summary.entropy, -(mean * np.log(mean)).sum(-1), rtol=1e-12)
    np.testing.assert_allclose(
        summary.expected_entropy, -(p * np.log(p)).sum(-1).mean(0), rtol=1e-12
    )
    # The other definition: the mean over passes of KL(p_t || p̄).
    np.testing.assert_allclose(
        summary.mutual_information, rel_entr(p, mean).sum(-1).mean(0), rtol=1e-9
    )
    assert {getattr(summary, f).dtype for f in FIELDS} == {torch.float64}


@given(
    seed=st.integers(0, 1000),
    T=st.integers(2, 12),
    N=st.integers(1, 40),
    C=st.integers(2, 19),
    data=st.data(),
)
def test_chunking_of_passes_does_not_matter(
    seed: int, T: int, N: int, C: int, data: st.DataObject
) -> None:
    logits = make_logits(seed, T, N, C)
    cuts = sorted(data.draw(st.sets(st.integers(1, T - 1))))
    whole, chunked = Predictive([1, T // 2, T]), Predictive([1, T // 2, T])
    whole.update(logits)
    for start, stop in zip([0, *cuts], [*cuts, T], strict=True):
        chunked.update(logits[start:stop])
    for prefix, summary in whole.summaries().items():
        assert_same_bits(summary, chunked.summaries()[prefix])


def test_layout_in_memory_does_not_matter() -> None:
    logits = make_logits(4, T=3, N=37, C=11)
    strided = logits.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not strided.is_contiguous()
    assert_same_bits(summarise(logits), summarise(strided))


def test_prefix_is_the_run_cut_short() -> None:
    logits = make_logits(1, T=9, N=30, C=5)
    predictive = Predictive([9, 1, 4, 4])
    predictive.update(logits)
    taken = predictive.summaries()
    assert list(taken) == [1, 4, 9]
    for T, summary in taken.items():
        assert_same_bits(summary, summarise(logits[:T]))


@given(
    seed=st.integers(0, 1000),
    T=st.integers(2, 8),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 50.0, 1e4]),
)
def test_entropies_are_in_order(
    seed: int,
    T: int,
    scale: float,
) -> None:
    summary = summarise(make_logits(seed, T, 20, 6, scale))
    slack = 1e-12
    assert (summary.mutual_information >= 0).all()
    assert (summary.expected_entropy >= 0).all()
    assert (summary.expected_entropy <= summary.entropy + slack).all()
    assert (summary.entropy <= np.log(6) + slack).all()
    torch.testing.assert_close(summary.probs.sum(1), torch.ones(20, dtype=torch.float64))


def test_saturated_logits_keep_a_finite_log() -> None:
    logits = torch.full((2, 1, 3), -1e4)
    logits[:, 0, 1] = 1e4
    summary = summarise(logits)
    assert summary.probs.tolist() == [[0.0, 1.0, 0.0]]
    np.testing.assert_allclose(summary.log_probs[0], [-2e4, 0.0, -2e4], rtol=1e-12, atol=1e-15)
    assert summary.entropy.item() == 0.0
    assert summary.mutual_information.item() == 0.0


def test_log_of_certainty_never_exceeds_zero() -> None:
    predictive = Predictive(range(1, 61))
    predictive.update(torch.tensor([1e4, 0.0]).repeat(60, 1, 1))
    for summary in predictive.summaries().values():
        assert summary.log_probs.max() <= 0.0
        assert summary.log_probs[0, 0].item() == pytest.approx(0.0, abs=1e-14)


def test_disagreement_between_certain_passes_is_all_mutual_information() -> None:
    logits = torch.tensor([[[1e4, 0.0]], [[0.0, 1e4]]])
    summary = summarise(logits)
    assert summary.mutual_information.item() == pytest.approx(np.log(2), rel=1e-14)
    assert summary.expected_entropy.item() == 0.0


def test_mutual_information_of_two_opposite_passes_by_hand() -> None:
    """p̄ is even and each pass has the binary entropy of 0.9: log 2 − h(0.9), on every way to it."""
    logits = torch.tensor([[9.0, 1.0], [1.0, 9.0]], dtype=torch.float64).log()[:, None]
    expected = np.log(2) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)
    summary, labels = summarise(logits.repeat(1, 3, 1)), torch.zeros(3, dtype=torch.int64)
    reduced = summary.outcomes(labels)
    for kept in (
        summary,
        reduced,
        Summary.cat([summary, summary]),
        Outcomes.cat([reduced, reduced]),
    ):
        assert kept.mutual_information.tolist() == pytest.approx([expected] * kept.images)
        repeated = labels.repeat(kept.images // 3)
        assert score(kept, repeated)["mutual_information"] == pytest.approx(expected, rel=1e-12)


def test_mutual_information_is_undefined_without_a_draw() -> None:
    logits = make_logits(0, T=3, N=4, C=3)
    assert summarise(logits[:1]).mutual_information is None
    assert summarise(logits, deterministic=True).mutual_information is None
    assert summarise(logits).mutual_information is not None


def test_cat_of_batches_is_the_whole() -> None:
    logits = make_logits(2, T=6, N=23, C=10)
    whole = summarise(logits)
    parts = Summary.cat([summarise(part) for part in logits.split(8, dim=1)])
    assert (parts.images, parts.classes, parts.T) == (23, 10, 6)
    for field in FIELDS:
        torch.testing.assert_close(
            getattr(parts, field), getattr(whole, field), rtol=1e-12, atol=1e-14
        )


def test_cat_keeps_mutual_information_undefined() -> None:
    one = summarise(make_logits(2, T=1, N=3, C=4))
    assert Summary.cat([one, one]).mutual_information is None


def test_cat_refuses_what_does_not_belong_together() -> None:
    a = summarise(make_logits(0, T=2, N=3, C=4))
    with pytest.raises(UserError, match="no batch"):
        Summary.cat([])
    for other in (make_logits(0, T=3, N=3, C=4), make_logits(0, T=2, N=3, C=5)):
        with pytest.raises(UserError, match="differ"):
            Summary.cat([a, summarise(other)])
    with pytest.raises(UserError, match="deterministic"):
        Summary.cat([a, summarise(make_logits(0, T=2, N=3, C=4), deterministic=True)])


@pytest.mark.parametrize("prefixes", [[], [0], [1, -5]])
def test_refuses_prefixes(prefixes: list[int]) -> None:
    with pytest.raises(UserError, match="Monte Carlo counts"):
        Predictive(prefixes)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_refuses_logits_that_are_not_finite_and_names_the_pass(bad: float) -> None:
    logits = make_logits(0, T=5, N=3, C=4)
    logits[3, 1, 2] = bad
    predictive = Predictive([5])
    with pytest.raises(UserError, match="pass 3 gave a logit that is NaN or infinite"):
        predictive.update(logits)
    with pytest.raises(UserError, match="3 Monte Carlo passes of the 5"):
        predictive.summaries()


@pytest.mark.parametrize(
    "logits",
    [torch.zeros(3, 4), torch.zeros(1, 3, 1), torch.zeros(1, 3, 4, dtype=torch.int32)],
)
def test_refuses_what_is_not_logits(logits: Tensor) -> None:
    with pytest.raises(UserError, match="shape"):
        Predictive([1]).update(logits)


def test_refuses_a_change_of_shape_and_too_many_passes() -> None:
    predictive = Predictive([2])
    predictive.update(make_logits(0, T=1, N=3, C=4))
    with pytest.raises(UserError, match="earlier passes"):
        predictive.update(make_logits(0, T=1, N=2, C=4))
    with pytest.raises(UserError, match="at most 2"):
        predictive.update(make_logits(0, T=2, N=3, C=4))


def test_keeps_what_each_pass_chooses_where_it_is_asked_to() -> None:
    logits = make_logits(3, T=7, N=20, C=5)
    total = Predictive((2, 7), predictions=True)
    total.update(logits[:3])
    total.update(logits[3:])
    for T, summary in total.summaries().items():
        assert torch.equal(summary.predictions, logits[:T].argmax(dim=-1))
    halves = []
    for part in (logits[:, :8], logits[:, 8:]):
        half = Predictive((7,), predictions=True)
        half.update(part)
        halves.append(half.summaries()[7])
    assert torch.equal(Summary.cat(halves).predictions, logits.argmax(dim=-1))
    assert summarise(logits).predictions is None


@pytest.mark.parametrize("groups", GROUPS)
def test_halvings_are_balanced_and_orthogonal(groups: int) -> None:
    which = halvings(groups)
    signs = np.where(which, 1, -1)
    assert (which.sum(axis=1) == groups // 2).all()
    np.testing.assert_array_equal(signs @ signs.T, groups * np.eye(groups - 1))


@pytest.mark.parametrize(("T", "groups"), [(4, 4), (7, 4), (13, 12), (50, 20)])
@pytest.mark.thorough
def test_halves_are_what_their_passes_alone_say(T: int, groups: int) -> None:
    logits = make_logits(3, T, 9, 4)
    labels = torch.arange(9) % 4
    taken = passed(logits, [2, T], groups=True)
    assert taken[2].groups is None
    halves = taken[T].outcomes(labels).halves
    assert halves is not None
    which = halvings(groups)[:, [t * groups // T for t in range(T)]]
    for side, halved in enumerate((which, ~which)):
        for h, kept in enumerate(halved):
            alone = summarise(logits[torch.from_numpy(kept)])
            torch.testing.assert_close(halves.confidence[side, h], alone.confidence.float())
            assert torch.equal(halves.correct[side, h], alone.correct(labels))
    group = torch.tensor([t * groups // T for t in range(T)])
    for g, nll in enumerate(halves.nll):
        others = summarise(logits[group != g])
        torch.testing.assert_close(nll, others.nll(labels).float())
    assert_same_bits(passed(logits, [2, T])[T], taken[T])


@pytest.mark.parametrize("T", [1, 3])
def test_fewer_passes_than_the_fewest_groups_have_none(T: int) -> None:
    assert passed(make_logits(3, T, 9, 4), [T], groups=True)[T].groups is None


def passed(logits: Tensor, prefixes: list[int], groups: bool = False) -> dict[int, Summary]:
    predictive = Predictive(prefixes, groups=groups)
    predictive.update(logits)
    return predictive.summaries()


def test_fewer_passes_than_groups_have_no_halves() -> None:
    logits, labels = make_logits(0, 4, 3, 4), torch.arange(3)
    assert passed(logits[:3], [3], groups=True)[3].outcomes(labels).halves is None
    assert passed(logits, [4])[4].outcomes(labels).halves is None
    found = passed(logits, [4], groups=True)[4]
    assert found.outcomes(None).halves is None
    assert found.outcomes(labels).halves is not None


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("shape", [(1, 5, 2), (1, 9, 10), (12, 23, 7), (13, 260, 100)])
def test_outcomes_of_batches_score_as_the_whole_bit_for_bit(
    shape: tuple[int, int, int], groups: bool
) -> None:
    T, N, C = shape
    logits = make_logits(5, *shape)
    labels = torch.randint(C, (N,), generator=torch.Generator().manual_seed(1))
    parts, kept = [], []
    for some in torch.arange(N).split(8):
        total = Predictive([T], groups=groups)
        total.update(logits[:, some])
        parts.append(total.summaries()[T])
        kept.append(parts[-1].outcomes(labels[some], whole=True))
    summary, found = Summary.cat(parts), Outcomes.cat(kept)
    assert (found.images, found.classes, found.T) == (N, C, T)
    assert score(found, labels) == score(summary, labels)
    assert torch.equal(found.nll(labels), summary.nll(labels))
    assert torch.equal(found.brier(labels), summary.brier(labels))
    assert torch.equal(found.confidence, summary.confidence)
    assert torch.equal(found.prediction, summary.prediction)
    halves = passed(logits, [T], groups)[T].outcomes(labels).halves
    assert (found.halves is None) == (halves is None) == (T < 4 or not groups)
    if halves is not None and found.halves is not None:
        for name in ("confidence", "correct", "nll"):
            assert torch.equal(getattr(found.halves, name), getattr(halves, name))
    assert found.whole is not None
    assert_same_bits(found.whole, summary)
    assert found.whole.groups is None


def test_outcomes_are_of_their_own_labels() -> None:
    labels = torch.tensor([0, 1, 2])
    found = summarise(make_logits(0, T=2, N=3, C=4)).outcomes(labels)
    with pytest.raises(ValueError, match="not the labels"):
        score(found, labels.flip(0), ["nll"])
    with pytest.raises(ValueError, match="not the labels"):
        summarise(make_logits(0, T=2, N=3, C=4)).outcomes(None).brier(labels)
    with pytest.raises(UserError, match="give one label for each image"):
        score(found, labels[:2])
