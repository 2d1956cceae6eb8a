"""model.py: what comes out, what is kept, what is refused."""

import warnings

import pytest
import torch
import torchreid
from torch.nn.parallel import scatter_gather

from models import (
    CLASSES,
    CLUSTERS,
    SMALL,
    equal,
    images,
    make,
    shuffled,
    weights,
)
from torchreid_daam import DAAM, DAAMOutput, build_daam, load_model
from torchreid_daam.attention import GATES
from torchreid_daam.loading import load_weights
from torchreid_daam.record import decode_record

# Outputs


@pytest.mark.parametrize('gate', GATES)
@pytest.mark.parametrize('dsp_branch', [True, False])
@pytest.mark.parametrize('attention', ['residual', 'independent', 'none'])
def test_outputs(attention, dsp_branch, gate):
    model = make(attention=attention, dsp_branch=dsp_branch, gate=gate)
    output = model(images())
    assert type(output) is DAAMOutput
    assert shapes(output) == {
        'y_s': (4, CLASSES),
        'y_t': (4, CLUSTERS),
        'y_nominal': (4, 1),
        'y_domain': (4, 2) if dsp_branch else None,
        'feat_dsh': (4, 6),
        'feat_dsp': (4, 6) if dsp_branch else None,
    }
    sum(v.sum() for v in output if v is not None).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    v = model.eval()(images())
    assert type(v) is torch.Tensor and v.shape == (4, 6)


def shapes(output):
    return {
        name: None if value is None else tuple(value.shape)
        for name, value in output._asdict().items()
    }


@pytest.mark.parametrize('attention', ['residual', 'independent', 'none'])
def test_stock_losses(attention):
    x, state = images(), None
    for loss in ('softmax', 'triplet', 'daam'):
        model = make(loss, attention=attention)
        state = state or model.state_dict()
        model.load_state_dict({**model.state_dict(), **state}, strict=False)
        if loss == 'softmax':
            y_s = model(x)
            assert y_s.shape == (4, CLASSES)
        elif loss == 'triplet':
            y, v = model(x)
            assert torch.equal(y, y_s) and v.shape == (4, 6)
        else:
            output = model(x)
            assert torch.equal(output.y_s, y_s)
            assert torch.equal(output.feat_dsh, v)


@pytest.mark.parametrize('loss', ['softmax', 'triplet'])
def test_stock_losses_build_no_head_that_they_do_not_train(loss):
    names = dict(make(loss).named_children())
    assert not {'classifier_t', 'nominal', 'domain'} & set(names)


def test_residual_splits_the_map():
    model = make(attention='residual')
    f = torch.randn(2, 128, 4, 2)
    f_dsh, f_dsp = model.separate(f)
    assert torch.allclose(f_dsh + f_dsp, f, atol=1e-6)
    assert not torch.allclose(f_dsh, f_dsp)


def test_independent_does_not_and_none_keeps_the_map():
    f = torch.randn(2, 128, 4, 2)
    f_dsh, f_dsp = make(attention='independent').separate(f)
    assert not torch.allclose(f_dsh + f_dsp, f, atol=1e-3)
    model = make(attention='none')
    assert all(part is f for part in model.separate(f))


def test_the_heads_belong_to_their_branch():
    model = make()
    output = model(images())
    for y, head, v in (
        (output.y_s, model.classifier_s, output.feat_dsh),
        (output.y_t, model.classifier_t, output.feat_dsh),
        (output.y_nominal, model.nominal, output.feat_dsh),
        (output.y_domain, model.domain, output.feat_dsp),
    ):
        wanted = v @ head.weight.T + head.bias
        assert torch.allclose(y, wanted, atol=1e-6)


def test_a_branch_by_hand():
    """GAP, FC, BN, ReLU in this order (section 3.2)."""
    model = shuffled(make(attention='none')).eval()
    x = images()
    with torch.no_grad():
        f = model.backbone.featuremaps(x)
        branch = model.branch_dsh
        for image, found in zip(f, model(x)):
            pooled = [channel.mean() for channel in image]
            for j, value in enumerate(found):
                v = branch.fc.bias[j] + sum(
                    w * p for w, p in zip(branch.fc.weight[j], pooled)
                )
                v = v - branch.bn.running_mean[j]
                v = v / (branch.bn.running_var[j] + branch.bn.eps).sqrt()
                v = v * branch.bn.weight[j] + branch.bn.bias[j]
                assert value == pytest.approx(max(float(v), 0), abs=1e-4)


# Parts


@pytest.mark.parametrize(
    ('options', 'wanted'),
    [
        ({}, 'attention branch_dsp nominal domain'),
        ({'attention': 'none'}, 'branch_dsp nominal domain'),
        (
            {'attention': 'independent'},
            'attention attention_dsp branch_dsp nominal domain',
        ),
        ({'dsp_branch': False}, 'attention nominal'),
        (
            {'attention': 'independent', 'dsp_branch': False},
            'attention nominal',
        ),
        ({'nominal_head': False}, 'attention branch_dsp domain'),
    ],
)
def test_a_part_that_is_off_builds_nothing_and_moves_nothing(options, wanted):
    always = {'backbone', 'branch_dsh', 'classifier_s', 'classifier_t'}
    model, full = make(**options), make()
    children = dict(model.named_children())
    assert set(children) == always | set(wanted.split())
    for name in set(children) & set(dict(full.named_children())):
        one, other = weights(model, f'{name}.'), weights(full, f'{name}.')
        assert one and equal(one, other), name


def test_initial_weights_are_keyed():
    torch.manual_seed(0)
    one = weights(make(seed=7))
    torch.rand(5)
    assert equal(weights(make(seed=7)), one)
    assert not equal(weights(make(seed=8)), one)
    # Two parts of one shape start differently.
    branches = [
        weights(make(), f'branch_{kind}.fc') for kind in ('dsh', 'dsp')
    ]
    one, other = [branch.popitem()[1] for branch in branches]
    assert not torch.equal(one, other)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    make()
    assert torch.equal(torch.rand(2), wanted)


def test_without_a_seed_the_global_generator_decides():
    torch.manual_seed(4)
    one, two = weights(make(seed=None)), weights(make(seed=None))
    torch.manual_seed(4)
    assert equal(weights(make(seed=None)), one)
    assert not equal(one, two)


def test_the_backbones_own_classifier_is_not_kept():
    names = dict(make().backbone.named_children())
    assert 'classifier' not in names and 'layer4' in names


def test_no_bare_parameter():
    """torchreid's freezing and staged rates see direct children only."""
    model = make(attention='independent')
    below = [p for c in model.children() for p in c.parameters()]
    assert len(below) == len(list(model.parameters()))
    assert list(dict(model.named_buffers(recurse=False))) == ['record']


@pytest.mark.parametrize('option', ['loss', 'attention', 'gate'])
def test_unknown_options(option):
    with pytest.raises(ValueError, match=f"{option}='wrong' is not one of"):
        make(**{option: 'wrong'})


# torchreid's tools


def test_staged_learning_rates_cover_every_parameter_once():
    model = make()
    new = [name for name, _ in model.named_children() if name != 'backbone']
    optimizer = torchreid.optim.build_optimizer(
        model, 'sgd', 0.1, staged_lr=True, new_layers=new, base_lr_mult=0.1
    )
    base, rest = optimizer.param_groups
    assert (base['lr'], rest['lr']) == (pytest.approx(0.01), 0.1)
    ids = [id(p) for p in base['params'] + rest['params']]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    backbone = {id(p) for p in model.backbone.parameters()}
    assert {id(p) for p in base['params']} == backbone


def test_open_layers():
    model = make()
    torchreid.utils.open_specified_layers(model, ['classifier_s'])
    open_ = [n for n, p in model.named_parameters() if p.requires_grad]
    assert open_ == ['classifier_s.weight', 'classifier_s.bias']
    model(images()).y_s.sum().backward()
    assert model.classifier_s.weight.grad is not None
    torchreid.utils.open_all_layers(model)
    assert all(p.requires_grad for p in model.parameters())


def test_dataparallel_gathers_the_output(monkeypatch):
    """On the CPU: with a plain `cat` in place of the copy between GPUs."""

    class Cat:
        @staticmethod
        def apply(device, dim, *tensors):
            return torch.cat(tensors, dim)

    monkeypatch.setattr(scatter_gather, 'Gather', Cat)
    model = make(dsp_branch=False)
    outputs = [model(images(2, seed)) for seed in (0, 1)]
    joint = scatter_gather.gather(outputs, 0)
    assert type(joint) is DAAMOutput
    assert joint.y_domain is None and joint.feat_dsp is None
    assert torch.equal(joint.y_t, torch.cat([o.y_t for o in outputs]))


def test_parameters_on_another_device_are_no_assumption():
    with torch.device('meta'):
        x = torch.empty(2, 3, 32, 16)
    model = make().to('meta')
    assert model(x).feat_dsh.shape == (2, 6)


# The K-way head


def test_set_num_clusters_in_place():
    model = make()
    old = list(model.classifier_t.parameters())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(images()).y_t.sum().backward()
    model.set_num_clusters(8, seed=1)
    assert [id(p) for p in model.classifier_t.parameters()] == [
        id(p) for p in old
    ]
    assert model.classifier_t.out_features == 8
    assert all(p.grad is None for p in old)
    assert model.classifier_t.weight.shape == (8, 6)
    assert not model.classifier_t.bias.any()
    # The optimiser that was built earlier trains the new head.
    before = model.classifier_t.weight.clone()
    y = model(images()).y_t
    assert y.shape == (4, 8)
    y.square().sum().backward()
    optimizer.step()
    assert not torch.equal(model.classifier_t.weight, before)


def test_set_num_clusters_is_seeded():
    heads = []
    for seed in (1, 1, 2):
        model = make()
        torch.rand(seed)
        model.set_num_clusters(4, seed)
        heads.append(model.classifier_t.weight.detach().clone())
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_start_at_the_centres_answers_with_the_nearest():
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(7, 6, generator=generator)
    centers *= torch.linspace(0.2, 3, 7)[:, None]  # unequal lengths
    v = torch.randn(50, 6, generator=generator)
    model = make()
    model.set_num_clusters(7, centers=centers.double())
    answers = model.classifier_t(v).argmax(1).tolist()
    for point, answer in zip(v, answers):
        distances = [float((point - c).square().sum()) for c in centers]
        assert answer == distances.index(min(distances))
    assert len(set(answers)) > 2


def test_gradients_reach_the_attention_from_the_source_alone():
    """Pretraining runs through A (Eq. 6 alone)."""
    model = make()
    model(images()).y_s.sum().backward()
    gradients = [p.grad for p in model.attention.parameters()]
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)


def test_nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        make().eval()(images())


def test_the_class_and_the_function_build_the_same():
    model = DAAM('resnet_tiny', CLASSES, CLUSTERS, pretrained=False, **SMALL)
    assert equal(weights(model), weights(make()))


# What eval mode gives


def tiny(feature='embedding', seed=1):
    return build_daam(
        'resnet_tiny',
        4,
        3,
        pretrained=False,
        embed_dim=8,
        feature=feature,
        seed=seed,
    )


def test_features_by_hand():
    model, x = tiny().eval(), torch.randn(5, 3, 32, 16)
    shared, _ = model.separate(model.backbone.featuremaps(x))
    pooled = shared.mean(dim=(2, 3))
    branch = model.branch_dsh
    before = branch.bn(branch.fc(pooled))
    wanted = {
        'embedding': before.clamp_min(0),
        'pre_relu': before,
    }
    assert (before < 0).any()
    for feature, value in wanted.items():
        found = tiny(feature).eval()
        torch.testing.assert_close(found(x), value)
        # While training nothing changes.
        one, other = found.train()(x), tiny().train()(x)
        assert torch.equal(one.feat_dsh, other.feat_dsh)


def test_a_saved_model_gives_its_own_feature(tmp_path, caplog):
    model, x = tiny('pre_relu').eval(), torch.randn(2, 3, 32, 16)
    path = tmp_path / 'model.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    assert torch.equal(load_model(path)(x), model(x))
    # Weights of one are good for another, which stays what it is.
    other = tiny(seed=2)
    load_weights(other, path, 'model.load_weights')
    assert torch.equal(other.eval()(x), tiny().eval()(x))
    assert not caplog.records
    # To test it so, or to take it by torchreid's tools, is told.
    load_weights(tiny(), path, 'model.load_weights', tested=True)
    tiny().load_state_dict(model.state_dict())
    assert len(caplog.records) == 2
    assert 'gives pre_relu are loaded into one that gives' in caplog.text
    torch.save({'state_dict': other.state_dict()}, path)
    assert torch.equal(load_model(path)(x), tiny().eval()(x))


def test_a_checkpoint_to_go_on_from_is_read_as_its_averaged_model(tmp_path):
    model, x = tiny().eval(), torch.randn(2, 3, 32, 16)
    average = {k: v.clone() for k, v in tiny(seed=2).named_parameters()}
    path = tmp_path / 'last.pth'
    torch.save({'state_dict': model.state_dict(), 'averager': average}, path)
    wanted = tiny(seed=2).eval()(x)
    assert not torch.equal(model(x), wanted)
    assert torch.equal(load_model(path)(x), wanted)
    load_weights(model, path, 'model.load_weights')
    assert torch.equal(model(x), wanted)
    # Before the first round there is none.
    torch.save({'state_dict': model.state_dict(), 'averager': {}}, path)
    assert torch.equal(load_model(path)(x), wanted)


def test_the_default_is_no_part_of_the_record():
    assert 'feature' not in decode_record(tiny().record)
    assert decode_record(tiny('pre_relu').record)['feature'] == 'pre_relu'
    with pytest.raises(ValueError, match='feature'):
        tiny('wide')
