"""The tables' command on the smallest pair: shared, stopped, failed runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from filelock import FileLock

from command import environment
from layouts import write_duke, write_market
from tables import command, jobs, pool, runner, source, worker
from tables.jobs import FORMAT
from tables.rows import PLAIN, Row
from tables.worker import work
from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.config import merge_options

pytest.importorskip('matplotlib')  # the extra `results`
DOOR = source.HERE.parent / 'ablation.py'
SETTINGS = {
    'train.rounds': 2,
    'train.epoch_length': 2,
    'train.pretrain_lr': 0.05,
    'train.lr': 0.02,
    'train.stepsize': '[1]',
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tmp_path_factory.mktemp('data')


@pytest.fixture
def base(data, tmp_path):
    cfg = tiny_config(data)
    merge_options(cfg, [str(w) for pair in SETTINGS.items() for w in pair])
    cfg.data.save_dir = str(tmp_path / 'unused')
    return cfg


@pytest.fixture
def in_process(monkeypatch):
    """Runs are worked on here instead of in processes; counts them."""
    worked = []

    def launch(self, folder):
        worked.append(json.loads((folder / 'job.json').read_text())['name'])
        return 0 if work(folder)['status'] == 'done' else 1

    monkeypatch.setattr(pool.Pool, '_launch', launch)
    return worked


@pytest.fixture
def arguments(base, tmp_path):
    """Words of the command line for the tiny settings."""
    path = tmp_path / 'tiny.yaml'
    path.write_text(base.dump())
    out = tmp_path / 'out'

    def words(*rest, workers=1):
        return [
            *map(str, rest),
            *('--config-file', str(path), '--out', str(out)),
            *('--workers', str(workers)),
        ]

    words.out = out
    return words


def suite_of(arguments, name):
    return json.loads((arguments.out / f'{name}.json').read_text())


def scores_of(arguments, name):
    """Everything of a suite that has to be equal between equal runs."""
    return {
        row['key']: [
            {k: v for k, v in run.items() if k != 'seconds'}
            for run in row['runs']
        ]
        for row in suite_of(arguments, name)['rows']
    }


def run_row(base, row, runs):
    """A row's records, worked on here one after the other."""
    for job in jobs.plan(base, [row], [0]).values():
        folder = runs / job.id
        pool.write_job(job, folder)
        record = work(folder)
        assert record['status'] == 'done', record['reason']
    return record, folder


ROWS = {
    'full': {},
    'grl': {'loss.daam.domain_loss': 'grl'},
    'dsh': {**PLAIN, 'adapt_bn': False},
}


@pytest.mark.parametrize('key', ROWS)
def test_shared_pretraining_gives_the_same_bits(base, tmp_path, key):
    row = Row(key, '', ROWS[key])
    record, folder = run_row(base, row, tmp_path / 'runs')
    alone = jobs.settings(base, row, 0)
    alone.data.save_dir = str(tmp_path / 'alone')
    assert record['rows'] == adapt(alone)['rows']
    weights = [
        torch.load(path / 'checkpoints' / 'selected.pth', weights_only=True)
        for path in (folder / 'run', tmp_path / 'alone')
    ]
    one, other = (w['state_dict'] for w in weights)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_direct_and_adabn_are_rows_of_the_pretraining(base, tmp_path):
    direct = Row('direct', '', PLAIN, stage='direct')
    record, _ = run_row(base, direct, tmp_path)
    stages = [row['stage'] for row in record['rows']]
    assert stages == ['direct', 'adabn', 'final']
    full, _ = run_row(base, Row('dsh', '', PLAIN), tmp_path)
    for mine, theirs in zip(record['rows'][:2], full['rows'][:2]):
        assert mine == theirs


def test_the_oracle_says_so(base, tmp_path):
    record, folder = run_row(
        base, Row('oracle', '', {}, seat='oracle'), tmp_path
    )
    assert record['oracle']
    stages = [row['stage'] for row in record['rows']]
    assert stages == ['direct', 'adabn', 'oracle', 'oracle']
    written = json.loads((folder / 'run' / 'results.json').read_text())
    assert written['rows'][-1]['stage'] == 'oracle'
    with np.load(folder / 'explain.npz') as arrays:
        assert set(arrays['weights']) == {1}
        for name in ('p_o_source', 'p_o_target', 'p_o_noise', 'cosine'):
            assert ((arrays[name] >= 0) & (arrays[name] <= 1.0001)).all()


@pytest.mark.parametrize('moved', (False, True))
def test_a_stopped_run_goes_on_from_its_checkpoint(
    base, tmp_path, monkeypatch, moved
):
    row = Row('grl', '', ROWS['grl'])
    expected, _ = run_row(base, row, tmp_path / 'whole')
    job = jobs.job_of(base, row, 0)
    folder = tmp_path / 'cut' / job.id
    needed = tmp_path / 'whole' / job.needs
    folder.parent.mkdir()
    (folder.parent / job.needs).symlink_to(needed)
    pool.write_job(job, folder)

    class Killed(BaseException):
        pass

    def killed(cfg, **seats):
        from torchreid_daam.engine import ImageDAAMEngine

        class Stops(ImageDAAMEngine):
            def _begin_round(self, round_):
                if round_ == 2:
                    raise Killed
                super()._begin_round(round_)

        return adapt(cfg, engine_class=Stops, **seats)

    monkeypatch.setattr(worker, 'adapt', killed)
    with pytest.raises(Killed):
        work(folder)
    assert not (folder / 'record.json').exists()
    last = folder / 'run' / 'checkpoints' / 'last.pth'
    assert last.is_file()
    if moved:  # its settings name the weights where they no longer lie
        folder.parent.rename(tmp_path / 'moved')
        folder = tmp_path / 'moved' / job.id

    seen = []

    def watched(cfg, **seats):
        seen.append(cfg.model.resume)
        return adapt(cfg, **seats)

    monkeypatch.setattr(worker, 'adapt', watched)
    record = work(folder)
    assert seen == ['' if moved else str(last)]
    assert record['rows'] == expected['rows']
    assert record['means'] == expected['means']


def test_finished_runs_are_not_repeated_nor_mixed(arguments, in_process):
    words = arguments('table3', 'fig5', '--rows', 'dir*', 'f?ll')
    words += ['--seeds', '0']
    assert command.main(words) == 0
    assert in_process == [
        'pretraining of direct-0',
        'pretraining of full-0',
        'full-0',
    ]
    first = scores_of(arguments, 'table3')
    assert command.main(words) == 0
    assert len(in_process) == 3
    assert scores_of(arguments, 'table3') == first
    # A run's settings are in its id, so other settings are other runs.
    assert command.main([*words, 'train.lr', '0.03']) == 0
    assert len(in_process) == 6
    ids = [run['id'] for run in scores_of(arguments, 'table3')['full']]
    assert ids != [run['id'] for run in first['full']]
    report = (arguments.out / 'results.md').read_text()
    assert '## Table 3' in report and 'not decided: one seed' in report
    for name in ('fig5.png', 'fig5.pdf', 'weights.png', 'cosine.pdf'):
        assert (arguments.out / 'results' / name).stat().st_size > 1000


def test_what_a_suite_says_is_not_run_again(arguments, in_process, capsys):
    words = arguments('table3', '--rows', 'direct', 'adabn', 'dsh_dsp')
    words += ['--seeds', '0']
    assert command.main(words) == 0
    assert len(in_process) == 3
    first = scores_of(arguments, 'table3')
    shutil.rmtree(arguments.out / 'runs')
    path = arguments.out / 'table3.json'
    changed = json.loads(path.read_text())
    changed['note'] = 'an older one'
    path.write_text(json.dumps(changed, sort_keys=True))
    assert command.main(words) == 0
    assert 'nothing is left to run' in capsys.readouterr().out
    assert len(in_process) == 3
    assert scores_of(arguments, 'table3') == first
    assert 'an older one' not in path.read_text()
    # Another suite has the same run; and weights are gone that one needs.
    words = arguments('baselines', '--rows', 'direct', 'kmeans', '--seeds', 0)
    assert command.main(words) == 0
    assert in_process[3:] == ['pretraining of direct-0', 'kmeans-0']
    found = scores_of(arguments, 'baselines')
    assert found['direct'] == first['direct']


def test_results_that_nothing_else_has_are_not_replaced(
    arguments, in_process, capsys
):
    words = arguments('table3', '--rows', 'direct', '--seeds', '0')
    assert command.main(words) == 0
    path = arguments.out / 'table3.json'
    other = [*words, 'train.pretrain_lr', '0.04']
    assert command.main(other) == 0  # their folder is there
    shutil.rmtree(arguments.out / 'runs')
    before = path.read_bytes()
    assert command.main(words) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert 'table3.json: has 1 runs of other settings' in error
    assert path.read_bytes() == before
    assert command.main(other) == 0
    assert len(in_process) == 2


def test_a_failure_stays_known_without_its_folder(arguments, in_process):
    words = arguments('choices', '--rows', 'full', '--seeds', '0')
    words += ['train.pretrain_lr', '1e18']
    assert command.main(words) == 1
    shutil.rmtree(arguments.out / 'runs')
    other = arguments('choices', '--rows', 'last_stride', '--seeds', '0')
    assert command.main([*other, 'train.pretrain_lr', '1e18']) == 1
    failed = scores_of(arguments, 'choices')['full']
    assert [run['status'] for run in failed] == ['failed']


def test_a_failed_row_is_recorded_and_the_others_go_on(
    arguments, in_process, capsys
):
    words = arguments('choices', '--rows', 'full', 'sums')
    words += ['--seeds', '0', 'train.pretrain_lr', '1e18']
    # Pretraining of either row ends in NaN here.
    assert command.main(words) == 1
    said = capsys.readouterr().out
    assert 'failed: its pretraining failed: ' in said
    rows = scores_of(arguments, 'choices')
    assert rows['full'][0]['status'] == 'failed'
    report = (arguments.out / 'results.md').read_text()
    assert 'full DAAM, seed 0 | failed: its pretraining' in report


def test_memory_error_of_one_row(arguments, in_process, monkeypatch):
    original = worker.adapt

    def scarce(cfg, **seats):
        if cfg.model.daam.attention == 'none':
            raise MemoryError('no more')
        return original(cfg, **seats)

    monkeypatch.setattr(worker, 'adapt', scarce)
    words = arguments('table3', '--rows', 'direct', 'adabn_attention')
    assert command.main([*words, '--seeds', '0']) == 1
    rows = scores_of(arguments, 'table3')
    assert rows['direct'][0]['reason'] == 'MemoryError: no more'
    assert rows['adabn_attention'][0]['status'] == 'done'
    monkeypatch.setattr(worker, 'adapt', original)
    assert command.main([*words, '--seeds', '0']) == 0
    assert len(in_process) == 3  # what failed is tried again


def start(words):
    return subprocess.Popen(
        [sys.executable, DOOR, *words],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_when(words, pattern, out):
    """Starts the command and kills it as soon as such a file is there."""
    process, until = start(words), time.time() + 120
    while not list(out.glob(pattern)):
        assert process.poll() is None and time.time() < until, pattern
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_killed_between_and_inside_rows_ends_with_the_same_table(
    arguments, base, tmp_path, in_process
):
    row = Row('dsh', '', PLAIN)
    words = arguments('table3', '--rows', 'dsh', '--seeds', '0')
    words += ['train.rounds', '4']
    kill_when(words, 'runs/*/record.json', arguments.out)
    before = {
        p: p.stat().st_mtime_ns for p in arguments.out.glob('runs/*/record*')
    }
    kill_when(words, 'runs/*/run/pseudo_labels/*-2.npz', arguments.out)
    assert command.main(words) == 0
    assert in_process == ['dsh-0']
    for path, written in before.items():
        assert path.stat().st_mtime_ns == written  # not repeated
    base.train.rounds = 4
    expected, _ = run_row(base, row, tmp_path / 'here')
    (run,) = scores_of(arguments, 'table3')['dsh']
    last = expected['rows'][-1]
    assert run['scores'] == {name: last[name] for name in run['scores']}
    rounds = [r for r in expected['rows'] if r['stage'] in ('adabn', 'round')]
    assert [r['mAP'] for r in run['rounds']] == [r['mAP'] for r in rounds]


@pytest.mark.slow
def test_two_workers_give_the_same_numbers(arguments, base, tmp_path):
    words = arguments('table3', '--rows', 'direct', workers=2)
    assert command.main([*words, '--seeds', '0', '1']) == 0
    runs = scores_of(arguments, 'table3')['direct']
    assert len(runs) == 2
    row = Row('direct', '', PLAIN, stage='direct')
    record, _ = run_row(base, row, tmp_path / 'here')
    scores = {name: record['rows'][0][name] for name in runs[0]['scores']}
    assert runs[0]['scores'] == scores


# What is wrong, and the one line that says so


def one_line(capsys, words):
    assert command.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    return error


@pytest.mark.parametrize(
    ('rest', 'said'),
    [
        (['tableX'], 'tableX: unknown suite; allowed are table3'),
        ([], 'no suite'),
        (['table3', '--seeds'], '--seeds: at least one'),
        (['table3', '--seeds', '-1'], '--seeds=-1'),
        (['table3', '--seeds', 'x'], 'argument --seeds'),
        (['table3', '--rows', 'nope'], '--rows=nope: unknown row'),
        (['table3', '--rows', 'nope*'], '--rows=nope*: unknown row'),
        (['table3', 'train.rounds', '0'], 'train.rounds=0'),
        (['table3', 'train.lr', 'x'], 'train.lr=x: a number expected'),
        (['table3', 'train.lr', '1', '--quick', '1'], '--quick: has to stand'),
        (['table3', 'model.name', 'nope_daam'], 'model.name=nope_daam'),
        (
            ['plus', '-s', 'market1501', '-t', 'msmt17'],
            'plus: its settings were found on embedded data',
        ),
        (['report', '--out', 'nowhere'], '--out=nowhere: no results'),
    ],
)
def test_bad_input(capsys, arguments, rest, said):
    if rest[:1] != ['report'] and 'train.lr' not in rest:
        at = next((i for i, w in enumerate(rest) if '.' in w), len(rest))
        rest = [*arguments(*rest[:at]), *rest[at:]]
    assert said in one_line(capsys, rest)


def test_no_worker(capsys, arguments):
    words = arguments('table3', workers=0)
    assert '--workers=0' in one_line(capsys, words)


def test_results_of_another_version(capsys, arguments):
    arguments.out.mkdir()
    path = arguments.out / 'fig5.json'
    path.write_text(json.dumps({'format': FORMAT + 1}))
    words = arguments('fig5', '--seeds', '0')
    assert f'results of version {FORMAT + 1}' in one_line(capsys, words)
    words = ['report', '--out', str(arguments.out)]
    assert 'results of version' in one_line(capsys, words)
    path.write_text('[]')
    assert 'not a results file' in one_line(capsys, words)


def test_two_commands_in_one_folder(capsys, arguments):
    arguments.out.mkdir()
    with FileLock(arguments.out / '.lock'):
        words = arguments('fig5', '--seeds', '0')
        assert 'another command works there' in one_line(capsys, words)


def test_data_without_a_query_set(capsys, arguments, tmp_path):
    root = tmp_path / 'real'
    write_market(root)
    write_duke(root)
    for path in (root / 'dukemtmc-reid').glob('**/query/*'):
        path.unlink()
    words = arguments(
        *('fig5', '--seeds', '0', '--root', root),
        *('-s', 'market1501', '-t', 'dukemtmcreid'),
    )
    assert 'query' in one_line(capsys, words)


def test_quick_is_two_tables_and_one_seed(monkeypatch):
    seen = {}

    def run_suites(base, names, seeds, **rest):
        seen.update(names=names, seeds=seeds, rate=base.train.lr, **rest)
        return 0

    monkeypatch.setattr(runner, 'run_suites', run_suites)
    words = ['--quick', '-s', 'msmt17', 'train.lr', '0.5']
    assert command.main(words) == 0
    assert (seen['names'], seen['seeds']) == (['table3', 'table4'], [0])
    assert seen['rate'] == 0.5
    assert command.main(['all']) == 0
    assert seen['names'] == list(command.ALL)
    assert seen['seeds'] is None
