"""Upstream's module layout: ``torchreid.data``, not ``torchreid.reid.data``.

PyPI's wheel holds the same modules one folder deeper. The other layout is
made of it here, at test time; nothing of it is stored.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torchreid

RUN = """
import sys
from pathlib import Path

import torchreid_daam
import torchreid

folder = Path(sys.argv[1])
assert Path(torchreid.__file__).is_relative_to(folder), torchreid.__file__
assert not hasattr(torchreid, 'reid')
assert not any(name.startswith('torchreid.reid') for name in sys.modules)

import torch

names = list(vars(torchreid.models)['__model_factory'])
assert sum(name.endswith('_daam') for name in names) == 36
torchreid_daam.register()
assert list(vars(torchreid.models)['__model_factory']) == names
assert torchreid.engine.ImageDAAMEngine is torchreid_daam.ImageDAAMEngine
model = torchreid.models.build_model('resnet_tiny_daam', 2, pretrained=False)
assert model.eval()(torch.zeros(1, 3, 32, 16)).shape == (1, 256)

cfg = torchreid_daam.get_default_config()
cfg.merge_from_list([
    'model.name', 'resnet_tiny_daam', 'model.pretrained', False,
    'data.root', str(folder / 'data'), 'data.save_dir', str(folder / 'run'),
    'data.sources', ['synthetic_source'],
    'data.targets', ['synthetic_target'],
    'data.synthetic.pair', 'tiny',
    'data.height', 32, 'data.width', 16, 'data.workers', 0,
    'train.pretrain_epoch', 1, 'train.rounds', 1, 'train.round_epoch', 1,
    'train.batch_size', 8, 'device', 'cpu',
    'pseudo_labels.num_clusters', 4,
])
cfg.train.epoch_length = '2'
torchreid_daam.adapt(cfg)
path = folder / 'run' / 'checkpoints' / 'selected.pth'
extractor = torchreid.utils.FeatureExtractor(
    'resnet_tiny_daam', str(path), (32, 16), device='cpu', verbose=False
)
x = torch.rand(2, 3, 32, 16)
assert torch.equal(extractor(x), torchreid_daam.load_model(path)(x))
"""


# The tests of torchreid's own tools, once more.
AGAIN = """
import sys
from pathlib import Path

import pytest
import torchreid

assert Path(torchreid.__file__).is_relative_to(sys.argv[1])
sys.exit(pytest.main(sys.argv[2:]))
"""
TOOLS = (
    'test_registry.py',
    'test_stock.py',
    'test_model.py::test_staged_learning_rates_cover_every_parameter_once',
    'test_model.py::test_open_layers',
    'test_model.py::test_dataparallel_gathers_the_output',
    'test_loading.py::test_dataparallel_on_the_cpu',
)


def write_upstream(folder: Path) -> None:
    """The installed torchreid without its ``reid`` folder."""
    package = Path(torchreid.__file__).parent
    nested = package / 'reid'
    if not nested.is_dir():
        pytest.skip('the installed torchreid has this layout itself')
    for path in nested.rglob('*.py'):
        copy = folder / 'torchreid' / path.relative_to(nested)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding='utf-8')
        text = text.replace('torchreid.reid', 'torchreid')
        copy.write_text(text, encoding='utf-8')


@pytest.mark.slow
def test_upstreams_layout(repo, tmp_path):
    write_upstream(tmp_path)
    paths = os.pathsep.join([str(tmp_path), str(repo)])
    done = subprocess.run(
        [sys.executable, '-c', RUN, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': paths},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    rows = json.loads((tmp_path / 'run' / 'results.json').read_text())['rows']
    stages = [row['stage'] for row in rows]
    assert stages == ['direct', 'adabn', 'round', 'final']


@pytest.mark.slow
def test_torchreids_tools_in_upstreams_layout(repo, tmp_path):
    write_upstream(tmp_path)
    names = [str(repo / 'tests' / name) for name in TOOLS]
    options = ['-q', '-p', 'no:cacheprovider', '-p', 'no:xdist']
    options += ['--rootdir', str(repo), '--basetemp', str(tmp_path / 'tests')]
    env = {k: v for k, v in os.environ.items() if not k.startswith('PYTEST')}
    paths = os.pathsep.join([str(tmp_path), str(repo)])
    done = subprocess.run(
        [sys.executable, '-P', '-c', AGAIN, str(tmp_path), *options, *names],
        capture_output=True,
        text=True,
        cwd=repo,
        env={**env, 'PYTHONPATH': paths},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
