"""Eq. (5), (6), (8), (10) to (12): losses.py against loops and by eye."""

import copy
import math
from typing import Any, NamedTuple

import pytest
import torch
import torchreid
from torch import nn

from torchreid_daam import losses
from torchreid_daam.domain_losses import mmd_loss
from torchreid_daam.losses import (
    DAAMLoss,
    WeightedCrossEntropyLoss,
    domain_similarity_loss,
    domain_specific_loss,
    orthogonality_loss,
    reid_loss,
    weighted_reid_loss,
)

DTYPES = [torch.float32, torch.float64]
both_dtypes = pytest.mark.parametrize('dtype', DTYPES)
both_reductions = pytest.mark.parametrize('reduction', ['mean', 'sum'])


class Output(NamedTuple):
    y_s: Any
    y_t: Any
    y_nominal: Any
    y_domain: Any
    feat_dsh: Any
    feat_dsp: Any


def randn(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def log_softmax(row, k):
    row = row.tolist()
    top = max(row)
    return row[k] - top - math.log(sum(math.exp(x - top) for x in row))


def reduced(values, reduction):
    return sum(values) / (len(values) if reduction == 'mean' else 1)


# Eq. (5)


@both_dtypes
@both_reductions
@pytest.mark.parametrize('shape', [(7,), (7, 1)])
def test_domain_similarity_equals_a_loop(dtype, reduction, shape):
    y = 3 * randn(*shape, dtype=dtype)
    values = [-math.log(1 / (1 + math.exp(-float(x)))) for x in y.flatten()]
    loss = domain_similarity_loss(y, reduction)
    assert loss.dtype == dtype and loss.dim() == 0
    assert float(loss) == pytest.approx(reduced(values, reduction), rel=1e-5)


@both_dtypes
def test_domain_similarity_stays_finite(dtype):
    y = torch.tensor([1e4, -1e4], dtype=dtype, requires_grad=True)
    loss = domain_similarity_loss(y, 'sum')
    loss.backward()
    assert loss.item() == 1e4
    assert y.grad.tolist() == [0.0, -1.0]


def test_domain_similarity_refuses_other_shapes():
    with pytest.raises(ValueError, match=r'\(4, 2\), not \(N,\) or \(N, 1\)'):
        domain_similarity_loss(torch.zeros(4, 2))


# Eq. (6) and (8)


@both_dtypes
def test_reid_loss_equals_torchreid(dtype):
    y, pids = randn(9, 5, dtype=dtype), torch.arange(9) % 5
    oracle = torchreid.losses.CrossEntropyLoss(
        num_classes=5, use_gpu=False, label_smooth=False
    )
    torch.testing.assert_close(reid_loss(y, pids), oracle(y, pids))
    torch.testing.assert_close(reid_loss(y, pids, 'sum'), 9 * oracle(y, pids))


# The wrong class leads by 1000 in the first row and by 100 in the second;
# the right one leads by 500 in the third.
BY_EYE = [[1000.0, 0, 0], [0, 0, 100.0], [500.0, 0, 0]]
LABELS = torch.tensor([1, 1, 0])


@both_dtypes
def test_weighted_loss_by_eye(dtype):
    y = torch.tensor(BY_EYE, dtype=dtype)
    assert float(weighted_reid_loss(y, LABELS, None, 'sum')) == 1100
    weights = torch.tensor([0.5, 0.25, 1.0])
    loss = weighted_reid_loss(y, LABELS, weights, 'sum')
    assert float(loss) == 525
    assert loss.dtype == dtype
    # By the 3 images; by the sum of the weights it would be 300.
    assert float(weighted_reid_loss(y, LABELS, weights)) == 175


@both_reductions
def test_weight_one_is_eq_6(reduction):
    y, labels = randn(8, 4), torch.arange(8) % 4
    torch.testing.assert_close(
        weighted_reid_loss(y, labels, torch.ones(8), reduction),
        reid_loss(y, labels, reduction),
    )


@both_reductions
def test_weighted_loss_equals_a_loop(reduction):
    y, labels, weights = randn(8, 4), torch.arange(8) % 4, randn(8, seed=1)
    values = [
        -float(w) * log_softmax(row, int(k))
        for row, k, w in zip(y, labels, weights, strict=True)
    ]
    loss = weighted_reid_loss(y, labels, weights, reduction)
    assert float(loss) == pytest.approx(reduced(values, reduction))


def test_no_gradient_through_the_weights():
    y = randn(3, 3).requires_grad_()
    weights = torch.ones(3, dtype=torch.float64, requires_grad=True)
    weighted_reid_loss(y, LABELS, weights).backward()
    assert y.grad.abs().sum() > 0
    assert weights.grad is None


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r'\(3, 1\), not \(3,\)'):
        weighted_reid_loss(randn(3, 3), LABELS, torch.ones(3, 1))


def test_weighted_cross_entropy_module():
    y = torch.tensor(BY_EYE)
    module = WeightedCrossEntropyLoss(reduction='sum')
    assert float(module(y, LABELS)) == 1100
    assert float(module(y, LABELS, torch.tensor([0.5, 0.25, 1]))) == 525
    assert WeightedCrossEntropyLoss().reduction == 'mean'


# Eq. (10)


@both_dtypes
@both_reductions
def test_domain_specific_equals_a_loop(dtype, reduction):
    y = randn(6, 2, dtype=dtype)
    source = [True, False, False, True, False, True]
    values = [
        -log_softmax(row, 0 if s else 1)
        for row, s in zip(y, source, strict=True)
    ]
    loss = domain_specific_loss(y, torch.tensor(source), reduction)
    assert float(loss) == pytest.approx(reduced(values, reduction), rel=1e-5)


def test_column_0_is_the_source():
    y = torch.tensor([[1000.0, 0], [0, 100.0]])
    source = torch.tensor([True, False])
    assert float(domain_specific_loss(y, source, 'sum')) == 0
    assert float(domain_specific_loss(y, ~source, 'sum')) == 1100


# Eq. (11)


@both_dtypes
@both_reductions
@pytest.mark.parametrize('form', ['cosine', 'paper'])
def test_orthogonality_equals_a_loop(dtype, reduction, form):
    a, b = randn(5, 7, dtype=dtype), randn(5, 7, seed=1, dtype=dtype)
    values = []
    for u, v in zip(a.tolist(), b.tolist(), strict=True):
        dot = sum(x * y for x, y in zip(u, v, strict=True))
        norms = math.hypot(*u) * math.hypot(*v)
        values.append(dot / (norms if form == 'cosine' else norms**2))
    loss = orthogonality_loss(a, b, form, reduction)
    assert float(loss) == pytest.approx(reduced(values, reduction), rel=1e-4)


def test_orthogonality_by_hand():
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0, 8.0]])
    assert float(orthogonality_loss(a, b)) == pytest.approx(1)
    # 50 / (25 * 100): the squares are what makes it small.
    assert float(orthogonality_loss(a, b, 'paper')) == pytest.approx(0.02)
    assert float(orthogonality_loss(a, torch.tensor([[8.0, -6.0]]))) == 0


@both_dtypes
@pytest.mark.parametrize('form', ['cosine', 'paper'])
def test_a_zero_vector_counts_0_and_stays_finite(dtype, form):
    a, b = randn(3, 4, dtype=dtype), randn(3, 4, seed=1, dtype=dtype)
    rest = orthogonality_loss(a[2:], b[2:], form, 'sum')
    a[0], b[1] = 0, 1e-30
    a.requires_grad_()
    b.requires_grad_()
    loss = orthogonality_loss(a, b, form, 'sum')
    loss.backward()
    torch.testing.assert_close(loss, rest)
    for grad in (a.grad, b.grad):
        assert grad.isfinite().all()
        assert not grad[:2].any() and grad[2].any()


@pytest.mark.parametrize('form', ['cosine', 'paper'])
def test_the_shortest_counted_vector_has_finite_gradients(form):
    a = torch.tensor([[1.1e-6, 0.0]], requires_grad=True)
    b = torch.tensor([[1.1e-6, 1.1e-6]], requires_grad=True)
    loss = orthogonality_loss(a, b, form)
    loss.backward()
    assert loss.item() > 0
    assert a.grad.isfinite().all() and b.grad.isfinite().all()


# Eq. (12)

SOURCE = torch.tensor([True, False, True, False, True])


def make_output(dtype=torch.float64):
    shapes = {
        'y_s': (5, 4),
        'y_t': (5, 3),
        'y_nominal': (5, 1),
        'y_domain': (5, 2),
        'feat_dsh': (5, 6),
        'feat_dsp': (5, 6),
    }
    return Output(
        *(
            randn(*shape, seed=seed, dtype=dtype).requires_grad_()
            for seed, shape in enumerate(shapes.values())
        )
    )


def make_batch():
    return {
        'is_source': SOURCE,
        'pid_s': torch.tensor([3, 0, 2]),
        'pid_t': torch.tensor([1, 2]),
        'weight_t': torch.tensor([0.5, 0.25]),
        'progress': 0.3,
    }


ALL = ['reid_s', 'reid_t', 'ds', 'dsp', 'orth']


@both_reductions
def test_terms_equal_loops_over_rows(reduction):
    output, batch = make_output(), make_batch()
    terms = DAAMLoss(reduction=reduction, orth='paper')(output, batch)
    expected = {name: [] for name in ALL}
    s = t = 0
    for i, is_source in enumerate(SOURCE.tolist()):
        if is_source:
            pid = int(batch['pid_s'][s])
            expected['reid_s'].append(-log_softmax(output.y_s[i], pid))
            s += 1
        else:
            pid, w = int(batch['pid_t'][t]), float(batch['weight_t'][t])
            expected['reid_t'].append(-w * log_softmax(output.y_t[i], pid))
            t += 1
        p = 1 / (1 + math.exp(-output.y_nominal[i].item()))
        expected['ds'].append(-math.log(p))
        column = 0 if is_source else 1
        expected['dsp'].append(-log_softmax(output.y_domain[i], column))
        a, b = output.feat_dsh[i].tolist(), output.feat_dsp[i].tolist()
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        expected['orth'].append(dot / (math.hypot(*a) * math.hypot(*b)) ** 2)
    assert list(terms) == ALL
    for name, values in expected.items():
        assert terms[name].dim() == 0
        assert terms[name].item() == pytest.approx(reduced(values, reduction))


def test_total_is_the_weighted_sum_of_unweighted_terms():
    output, batch = make_output(), make_batch()
    weights = {'reid_s': 1.0, 'reid_t': 2, 'ds': 3, 'dsp': 5, 'orth': 7}
    loss = DAAMLoss(**{f'weight_{k}': w for k, w in weights.items()})
    terms = loss(output, batch)
    plain = DAAMLoss()(output, batch)
    assert {k: v.item() for k, v in terms.items()} == {
        k: v.item() for k, v in plain.items()
    }
    expected = 0
    for name in ALL:
        expected += weights[name] * terms[name].item()
    assert loss.total(terms).item() == pytest.approx(expected)
    assert loss.weights == weights


@pytest.mark.parametrize('name', ALL)
def test_weight_0_skips_its_term(name, monkeypatch):
    for function in (
        'reid_loss' if name == 'reid_s' else None,
        'domain_similarity_loss' if name == 'ds' else None,
        'domain_specific_loss' if name == 'dsp' else None,
        'orthogonality_loss' if name == 'orth' else None,
    ):
        if function:
            monkeypatch.setattr(losses, function, None)
    batch = make_batch()
    if name == 'reid_t':
        del batch['weight_t']
    loss = DAAMLoss(**{f'weight_{name}': 0.0})
    terms = loss(make_output(), batch)
    assert list(terms) == [other for other in ALL if other != name]


def test_only_reid_s_while_pretraining():
    batch = {'is_source': torch.ones(5).bool(), 'pid_s': torch.arange(5) % 4}
    output = make_output()._replace(y_t=None, y_nominal=None)
    assert list(DAAMLoss()(output, batch)) == ['reid_s']


def test_no_dsp_branch_no_dsp_terms():
    output = make_output()._replace(y_domain=None, feat_dsp=None)
    assert list(DAAMLoss()(output, make_batch())) == ['reid_s', 'reid_t', 'ds']


@pytest.mark.parametrize(
    ('field', 'term'), [('y_t', 'reid_t'), ('y_nominal', 'ds')]
)
def test_a_missing_head_is_named(field, term):
    output = make_output()._replace(**{field: None})
    with pytest.raises(ValueError, match=f"'{term}' needs {field}"):
        DAAMLoss()(output, make_batch())


def test_mmd_takes_the_place_of_eq_5():
    output, batch = make_output(), make_batch()
    terms = DAAMLoss(domain_loss='mmd')(output, batch)
    feat = output.feat_dsh.detach()
    expected = mmd_loss(feat[[0, 2, 4]], feat[[1, 3]])
    assert list(terms) == ALL
    torch.testing.assert_close(terms['ds'].detach(), expected)


def test_no_domain_loss():
    terms = DAAMLoss(domain_loss='none')(make_output(), make_batch())
    assert list(terms) == ['reid_s', 'reid_t', 'dsp', 'orth']


@both_reductions
def test_grl_trains_the_head_and_confuses_the_features(reduction):
    output, batch = make_output(), make_batch()
    torch.manual_seed(0)
    head = nn.Linear(6, 1).double()
    loss = DAAMLoss(domain_loss='grl', domain_head=head, reduction=reduction)
    assert not list(loss.parameters()) and not list(loss.children())
    value = loss(output, batch)['ds']
    value.backward()

    twin = copy.deepcopy(head)
    feat = output.feat_dsh.detach().clone().requires_grad_()
    values = []
    for i, is_source in enumerate(SOURCE.tolist()):
        p = torch.sigmoid((twin.weight[0] * feat[i]).sum() + twin.bias[0])
        values.append(-torch.log(p if is_source else 1 - p))
    expected = reduced(values, reduction)
    twin.zero_grad()
    expected.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(head.weight.grad, twin.weight.grad)
    # tanh(5 p) is the warm-up of progress p.
    torch.testing.assert_close(
        output.feat_dsh.grad, -math.tanh(1.5) * feat.grad
    )


@both_dtypes
def test_dtype_follows_the_input(dtype):
    terms = DAAMLoss()(make_output(dtype), make_batch())
    assert {term.dtype for term in terms.values()} == {dtype}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'reduction': 'none'}, "reduction='none' is not one of mean, sum"),
        ({'orth': 'dot'}, "orth='dot' is not one of cosine, paper"),
        ({'domain_loss': 'mk'}, "domain_loss='mk' is not one of occ"),
        ({'domain_loss': 'grl'}, "'grl' needs a domain_head"),
        ({'weight_ds': -1.0}, r'weight_ds=-1.0 is not a finite number >= 0'),
        ({'weight_orth': math.nan}, 'weight_orth=nan'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DAAMLoss(**arguments)


def test_functions_refuse_unknown_choices():
    with pytest.raises(ValueError, match="reduction='none'"):
        reid_loss(randn(3, 3), LABELS, 'none')
    with pytest.raises(ValueError, match="reduction='none'"):
        WeightedCrossEntropyLoss('none')
    with pytest.raises(ValueError, match="form='dot'"):
        orthogonality_loss(randn(3, 3), randn(3, 3), 'dot')
    with pytest.raises(ValueError, match='no term to minimise'):
        DAAMLoss().total({})
