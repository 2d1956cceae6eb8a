"""job.py: from settings to the objects of a run."""

import shutil

import pytest
import torch

from tiny import tiny_config
from torchreid_daam import ImageDAAMEngine
from torchreid_daam.job import prepare


@pytest.fixture
def cfg(tmp_path):
    return tiny_config(tmp_path)


def test_k_follows_the_number_of_target_images(cfg):
    job = prepare(cfg)
    images = len(job.engine.domains.target_items)
    assert job.cfg.pseudo_labels.num_clusters == int(images / 20 + 0.5)


def test_seats_of_your_own(cfg):
    seen = []

    class Engine(ImageDAAMEngine):
        pass

    def labeller(cfg, datamanager):
        seen.append(cfg.pseudo_labels.num_clusters)
        return datamanager

    job = prepare(cfg, labeller=labeller, engine_class=Engine)
    assert type(job.engine) is Engine
    assert job.engine.labelling.labeller.labeller is job.datamanager
    assert seen == [job.cfg.pseudo_labels.num_clusters] != [0]
    assert type(prepare(cfg).engine) is ImageDAAMEngine


@pytest.mark.skipif(shutil.which('g++') is None, reason='no g++')
def test_a_compiled_backbone_gives_the_same_maps(cfg):
    plain = prepare(cfg).engine.model
    cfg.train.compile = True
    model = prepare(cfg).engine.model
    images = torch.randn(2, 3, 64, 32)
    f = model.eval().backbone.featuremaps(images)
    torch.testing.assert_close(f, plain.eval().backbone.featuremaps(images))
    assert hasattr(model.backbone.featuremaps, '_torchdynamo_orig_callable')
    assert model.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize('optim', ['sgd', 'adam', 'amsgrad'])
def test_a_fused_optimiser_takes_the_same_steps(cfg, optim):
    cfg.train.optim, cfg.train.lr = optim, 0.01
    found = {}
    for choice in ('auto', 'on', 'off'):
        cfg.train.fused = choice
        engine = prepare(cfg).engine
        groups = engine.optimizer.param_groups
        assert {bool(g.get('fused')) for g in groups} == {choice == 'on'}
        for parameter in engine.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        engine.optimizer.step()
        found[choice] = engine.model.classifier_s.weight.detach()
    torch.testing.assert_close(found['on'], found['off'])
    assert torch.equal(found['auto'], found['off'])


def test_channels_last_reaches_the_maps(cfg):
    cfg.train.channels_last = True
    model = prepare(cfg).engine.model
    f = model.backbone.featuremaps(torch.zeros(2, 3, 64, 32))
    assert f.is_contiguous(memory_format=torch.channels_last)
