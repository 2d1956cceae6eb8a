"""step.py: a whole step against one written by hand, on a copy."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from engines import CLUSTERS, make_engine
from torchreid_daam.data.paired import joint_batch
from torchreid_daam.losses import DAAMLoss
from torchreid_daam.recipe.separate import separate_forward
from torchreid_daam.recipe.teacher import WeightAverage, soft_term
from torchreid_daam.recipe.terms import MoreTerms
from torchreid_daam.step import Step, joint_forward


@pytest.mark.parametrize('joint', [False, True])
def test_parameters_after_a_step(root, tmp_path, joint):
    engine = make_engine(root, tmp_path, terms=DAAMLoss(weight_ds=0.5))
    images = len(engine.domains.target_items)
    weights = np.linspace(0.1, 1.0, images, dtype=np.float32)
    engine.domains.target.set_labels(np.arange(images) % CLUSTERS, weights)
    loader = engine.domains.adaptation if joint else engine.domains.pretraining
    loader.set_epoch('adapt', 1, 0)
    data = next(iter(loader))
    model = copy.deepcopy(engine.model).train()
    engine.epoch, engine.batch_idx, engine.num_batches = 1, 0, 1
    engine.model.train()
    summary = engine.forward_backward(data)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x_s, y_s = data['source']['img'], data['source']['pid']
    n = len(x_s)
    if joint:
        x_t = data['target']['img']
        order = [i for pair in zip(range(n), range(n, 2 * n)) for i in pair]
        x = torch.cat([x_s, x_t])[order]
        rows_s, rows_t = list(range(0, 2 * n, 2)), list(range(1, 2 * n, 2))
    else:
        x, rows_s, rows_t = x_s, list(range(n)), []
    f = model.backbone.featuremaps(x)
    a = model.attention(f)
    v = model.branch_dsh(a * f)
    u = model.branch_dsp((1 - a) * f)
    loss = F.cross_entropy(model.classifier_s(v[rows_s]), y_s)
    if joint:
        y_t = data['target']['pid']
        w = data['target']['weight']
        per_image = [
            w[i] * F.cross_entropy(model.classifier_t(v[[r]]), y_t[[i]])
            for i, r in enumerate(rows_t)
        ]
        loss = loss + sum(per_image) / n
        ds = -torch.sigmoid(model.nominal(v)).log().mean()
        domain = torch.tensor([0, 1] * n)
        dsp = F.cross_entropy(model.domain(u), domain)
        orth = F.cosine_similarity(v, u).mean()
        loss = loss + 0.5 * ds + dsp + orth
    loss.backward()
    optimizer.step()

    assert summary['loss'] == pytest.approx(loss.item(), rel=1e-5)
    names = {'loss', 'reid_s'}
    names |= {'reid_t', 'ds', 'dsp', 'orth'} if joint else set()
    assert set(summary) == names
    for name, value in engine.model.named_parameters():
        expected = model.get_parameter(name)
        torch.testing.assert_close(
            value, expected, rtol=1e-4, atol=1e-6, msg=name
        )


def test_on_a_device_the_log_shows_what_was_read_last():
    step = Step(None, None, None, None, seed=1)

    def shown(look, **values):
        scalars = {name: torch.tensor(v) for name, v in values.items()}
        return step._shown(scalars, look)

    assert shown(False, loss=1.0) == {'loss': 1.0}  # nothing was read yet
    assert shown(False, loss=2.0) == {'loss': 1.0}
    assert shown(True, loss=3.0) == {'loss': 3.0}
    both = shown(False, loss=4.0, orth=5.0)  # other terms than before
    assert both == {'loss': 4.0, 'orth': 5.0}


class Operations(TorchDispatchMode):
    """What is computed: names, and whether rows were chosen by a mask."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        indices = args[1] if len(args) > 1 else ()
        if isinstance(indices, list | tuple):
            masked = any(
                isinstance(i, torch.Tensor) and i.dtype == torch.bool
                for i in indices
            )
            if masked:
                self.found.append(f'{func} by a mask')
        self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('forward', [joint_forward, separate_forward])
def test_nothing_in_a_step_has_to_be_counted_first(root, tmp_path, forward):
    """Rows by a mask would make the host wait for a GPU."""
    average = WeightAverage(0.5, soft=True)
    terms = MoreTerms(DAAMLoss(), {'soft': (0.5, soft_term)})
    engine = make_engine(
        root, tmp_path, terms=terms, forward=forward, averager=average
    )
    images = len(engine.domains.target_items)
    engine.domains.target.set_labels(
        np.arange(images) % CLUSTERS, np.full(images, 0.5, np.float32)
    )
    loader = engine.domains.adaptation
    loader.set_epoch('adapt', 1, 0)
    data = next(iter(loader))
    average.restart(engine.model)
    engine.model.train()
    imgs, batch = joint_batch(data, torch.device('cpu'))
    batch['progress'] = 0.5
    with Operations() as seen:
        batch.update(average.targets(engine.model, imgs, batch, forward))
        output = engine.outputs(imgs, batch)
        terms.total(terms(output, batch)).backward()
    waits = ('nonzero', 'masked_select', 'local_scalar', 'by a mask', 'unique')
    assert len(seen.found) > 200
    assert [o for o in seen.found if any(w in o for w in waits)] == []
