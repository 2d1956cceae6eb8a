"""The demo's figures over seeds: what the README's table is made by.

Each seed draws its own data and trains with its own keys, in a process of one
thread. Supervised means the same network, augmentation, batch and pretraining
schedule on the target's true labels, by torchreid's stock engine. Runs that
are there already are not repeated: remove them after changing the YAML file.

    python benchmarks/demo.py [--seeds 0 1 2 3 4] [--out log/demo] [KEY VALUE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torchreid_daam.config import get_default_config, merge_file

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / 'projects' / 'daam' / 'configs' / 'synthetic.yaml'
MAIN = REPOSITORY / 'projects' / 'daam' / 'main.py'
COLUMNS = ('supervised', 'direct', 'adabn', 'final')


def run(seed: int, kind: str, out: Path, options: list[str]) -> dict:
    """Runs one job unless its results are there; returns them."""
    folder = out / f'{kind}-{seed}'
    results = folder / 'results.json'
    command = [str(MAIN), '--config-file', str(CONFIG)]
    if kind == 'supervised':
        command += ['-s', 'synthetic_target', '-t', 'synthetic_target']
        options = options + _supervised()
    command += ['data.save_dir', str(folder), 'train.seed', str(seed)]
    command += ['data.synthetic.seed', str(seed), *options]
    record = folder / 'run.json'
    if record.is_file():
        if json.loads(record.read_text())['command'] != command:
            raise SystemExit(
                f'{folder}: holds a run of another command; choose another '
                '--out, or remove it'
            )
    else:
        environment = dict(os.environ, OMP_NUM_THREADS='1')
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / 'output.txt', 'w') as output:
            subprocess.run(
                [sys.executable, *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                check=True,
                env=environment,
            )
    rows = {r['stage']: r for r in json.loads(results.read_text())['rows']}
    seconds = json.loads(record.read_text())['seconds']
    return {stage: row['mAP'] for stage, row in rows.items()} | {
        'seconds': seconds
    }


def _supervised() -> list[str]:
    cfg = get_default_config()
    merge_file(cfg, str(CONFIG))
    train = cfg.train
    settings = {
        'loss.name': 'softmax',
        'loss.softmax.label_smooth': False,
        'train.max_epoch': train.pretrain_epoch,
        'train.lr': train.pretrain_lr,
        'train.stepsize': train.pretrain_stepsize,
    }
    return [str(word) for pair in settings.items() for word in pair]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', type=int, nargs='+', default=range(5))
    parser.add_argument('--out', type=Path, default=Path('log/demo'))
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--no-supervised', action='store_true')
    args, options = parser.parse_known_args()
    kinds = ['daam'] if args.no_supervised else ['daam', 'supervised']
    jobs = [(seed, kind) for seed in args.seeds for kind in kinds]
    with ThreadPoolExecutor(args.jobs) as pool:
        done = pool.map(lambda job: run(*job, args.out, options), jobs)
        results = dict(zip(jobs, done, strict=True))
    report(list(args.seeds), results)


def report(seeds: list[int], results: dict[tuple[int, str], dict]) -> None:
    """Prints a table in Markdown: a row per seed, then mean and spread."""
    names = [*COLUMNS, 'final - AdaBN', 'final - direct', 's']
    print('| seed | ' + ' | '.join(names) + ' |')
    print('|---' * (len(names) + 1) + '|')
    table = []
    for seed in seeds:
        row = dict(results[seed, 'daam'])
        supervised = results.get((seed, 'supervised'), {})
        row['supervised'] = supervised.get('supervised', float('nan'))
        values = [row[name] for name in COLUMNS]
        values += [row['final'] - row['adabn'], row['final'] - row['direct']]
        table.append([*values, row['seconds']])
        print(_line(str(seed), table[-1]))
    columns = list(zip(*table, strict=True))
    print(_line('mean', [statistics.mean(c) for c in columns]))
    if len(seeds) > 1:
        print(_line('sd', [statistics.stdev(c) for c in columns]))


def _line(name: str, values: list[float]) -> str:
    cells = ' | '.join(f'{value:.1f}' for value in values)
    return f'| {name} | {cells} |'


if __name__ == '__main__':
    main()
