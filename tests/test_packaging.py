"""The wheel, the requirements and the Makefile."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TARGETS = (
    'help venv demo results test test-fast test-min test-tracker lint format '
    'bench wheel clean'
).split()


def setup_cfg(repo: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read(repo / 'setup.cfg', encoding='utf-8')
    return parser


def requirements(repo: Path) -> list[Requirement]:
    parser = setup_cfg(repo)
    text = parser['options']['install_requires']
    for extra in parser['options.extras_require'].values():
        text += '\n' + extra
    return [Requirement(line) for line in text.split('\n') if line]


def pins(path: Path) -> dict[str, str]:
    """A constraints file as name -> version; nothing but exact pins."""
    found = {}
    for line in path.read_text(encoding='utf-8').splitlines():
        line = line.partition('#')[0].strip()
        if line:
            name, version = line.split('==')
            found[canonicalize_name(name)] = version
    return found


def version(repo: Path) -> str:
    """``__version__`` as written in the package: setuptools reads it so."""
    path = repo / 'torchreid_daam' / '__init__.py'
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id == '__version__':
                return ast.literal_eval(node.value)
    raise LookupError('__version__')


def test_one_version(repo):
    source = setup_cfg(repo)['metadata']['version']
    assert source == 'attr: torchreid_daam.__version__'
    citation = (repo / 'CITATION.cff').read_text(encoding='utf-8')
    assert f'\nversion: {version(repo)}\n' in citation
    changes = (repo / 'CHANGELOG.md').read_text(encoding='utf-8')
    newest = re.search(r'^## (\S+)', changes, re.MULTILINE).group(1)
    assert newest == version(repo)


def test_constraints_pin_every_requirement(repo):
    newest = pins(repo / 'constraints.txt')
    for requirement in requirements(repo):
        pin = newest[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), requirement


def test_every_lower_bound_is_the_one_that_is_tested(repo):
    lowest = pins(repo / 'constraints-min.txt')
    for requirement in requirements(repo):
        pin = lowest[canonicalize_name(requirement.name)]
        assert str(requirement.specifier) == f'>={pin}'


def test_the_tests_have_what_the_export_needs(repo):
    extras = setup_cfg(repo)['options.extras_require']
    wanted = set(extras['export'].split())
    assert wanted and wanted <= set(extras['test'].split())


def test_every_import_is_a_requirement(repo):
    names = {'cv2': 'opencv-python-headless', 'PIL': 'pillow'}
    names |= {'sklearn': 'scikit-learn', 'yaml': 'pyyaml'}
    known = {canonicalize_name(r.name) for r in requirements(repo)}
    for path in (repo / 'torchreid_daam').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            else:
                continue
            for top in {module.partition('.')[0] for module in modules}:
                if top in sys.stdlib_module_names | {'torchreid_daam'}:
                    continue
                name = canonicalize_name(names.get(top, top))
                assert name in known, f'{path}: {top}'


def python(*args: object, **options: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        capture_output=True,
        text=True,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def wheel(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without network from a copy: setuptools builds in place."""
    folder = tmp_path_factory.mktemp('wheel')
    skip = shutil.ignore_patterns(
        '.*', '__pycache__', '*.egg-info', 'build', 'dist', 'reid-data', 'log'
    )
    shutil.copytree(repo, folder / 'source', ignore=skip)
    python(
        *('-m', 'pip', 'wheel', '--no-index', '--no-deps'),
        *('--no-build-isolation', '-w', folder, folder / 'source'),
    )
    (path,) = folder.glob('*.whl')
    return path


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(repo, wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        info = f'torchreid_daam-{version(repo)}.dist-info'
        metadata = file.read(f'{info}/METADATA').decode()
    assert f'\nVersion: {version(repo)}\n' in metadata
    assert any(name.endswith('/LICENSE') for name in names)
    package = {
        path.relative_to(repo).as_posix()
        for path in (repo / 'torchreid_daam').rglob('*')
        if path.is_file()
        and not {'__pycache__', '.ruff_cache'} & set(path.parts)
    }
    assert {n for n in names if not n.startswith(info)} == package


@pytest.mark.slow
def test_wheel_works_outside_the_repository(repo, wheel, tmp_path):
    target, elsewhere = tmp_path / 'target', tmp_path / 'elsewhere'
    elsewhere.mkdir()
    python(
        *('-m', 'pip', 'install', '--no-index', '--no-deps'),
        *('--target', target, wheel),
    )
    options = {
        'cwd': elsewhere,
        'env': {**os.environ, 'PYTHONPATH': str(target)},
    }
    code = (
        'import torchreid, torchreid_daam\n'
        'build = torchreid.models.build_model\n'
        "build('resnet_tiny_daam', num_classes=3, pretrained=False)\n"
        'print(torchreid_daam.__file__)\n'
    )
    found = python('-c', code, **options).splitlines()[-1]
    assert Path(found) == target / 'torchreid_daam' / '__init__.py'
    said = python('-m', 'torchreid_daam', '--version', **options)
    assert version(repo) in said


needs_make = pytest.mark.skipif(not shutil.which('make'), reason='no make')


# Not the rest: an outer make hands its flags and variables on.
PATH_ONLY = {'PATH': os.environ['PATH']}


def dry_run(repo: Path, *args: str) -> str:
    return subprocess.run(
        ['make', '-n', *args],
        cwd=repo,
        env=PATH_ONLY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@needs_make
@pytest.mark.parametrize('target', TARGETS)
def test_make_knows_the_target(repo, target):
    assert dry_run(repo, target) is not None


@needs_make
def test_make_hands_its_variables_on(repo):
    demo = ' '.join(dry_run(repo, 'demo').replace('\\\n', '').split())
    assert demo.endswith(
        '.venv/bin/python projects/daam/main.py --config-file '
        'projects/daam/configs/synthetic.yaml'
    )
    demo = dry_run(repo, 'demo', 'SEED=3', 'PRESET=letter')
    assert 'configs/letter.yaml' in demo
    assert 'train.seed 3 data.synthetic.seed 3' in demo
    assert 'tests/bitcheck.py abc' in dry_run(repo, 'bitcheck', 'REF=abc')


@needs_make
@pytest.mark.parametrize('preset', ('synthetic', 'plus', 'plus-long'))
def test_presets_of_the_demo_are_files(repo, preset):
    name = f'{"" if preset == "synthetic" else "synthetic-"}{preset}'
    demo = dry_run(repo, 'demo', f'PRESET={preset}', 'SEED=1')
    assert f'configs/{name}.yaml' in demo
    assert (repo / f'projects/daam/configs/{name}.yaml').is_file()
    assert f'data.save_dir log/{name}-1' in demo


@needs_make
def test_make_test_tracker_trains_exports_and_tracks(repo, tmp_path):
    # Neither models nor environment of an earlier run stand in the way.
    places = [f'TRACKER={tmp_path}', f'VENV_TRACKER={tmp_path}/venv']
    seeds = 'TRACKER_SEEDS=4 7'
    done = dry_run(repo, 'test-tracker', *places, seeds)
    text = ' '.join(done.replace('\\\n', '').split())
    for kind, settings in (
        ('source', 'train.rounds 0 adapt_bn False '),
        ('adapted', ''),
    ):
        for seed in (4, 7):
            run = f'{tmp_path}/{kind}-{seed}'
            assert (
                f'synthetic.yaml {settings}train.seed {seed} '
                f'data.synthetic.seed {seed} data.save_dir {run} '
                'model.resume auto'
            ) in text
            assert f'projects/daam/export.py {run}/' in text
        files = [
            f'{tmp_path}/{kind}-{seed}/export/'
            f'resnet_tiny_daam_{kind}-{seed}.onnx'
            for seed in (4, 7)
        ]
        assert f'--{kind} {files[0]} {files[1]}' in text
    assert 'pip install boxmot==' in text


@needs_make
def test_make_bitcheck_wants_a_commit(repo):
    # The environment's stamp is taken as new: nothing is installed.
    done = subprocess.run(
        ['make', '-o', 'venv', 'bitcheck'],
        cwd=repo,
        env=PATH_ONLY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert 'usage: make bitcheck REF=<commit>' in done.stderr
