"""Records of runs and suites as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yacs.config import CfgNode as CN

from tables.jobs import FORMAT, Job
from tables.rows import TITLES, Row, Suite
from tables.source import source_digest
from torchreid_daam.config import flatten, get_default_config
from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import write_text

# Folder of the runs, in that of the results.
RUNS = 'runs'
SCORES = ('mAP', 'rank1', 'rank5', 'rank10', 'rank20')


def read_record(folder: Path) -> dict[str, Any] | None:
    """A run's record, or None where it is not finished."""
    try:
        text = (folder / 'record.json').read_text(encoding='utf-8')
        return json.loads(text)
    except (FileNotFoundError, ValueError):
        return None


def failed_record(job: Job, reason: str) -> dict[str, Any]:
    """Record of a run that could not write one."""
    return {
        'format': FORMAT,
        'id': job.id,
        'name': job.name,
        'status': 'failed',
        'reason': reason,
        'rows': [],
        'seconds': 0.0,
    }


def read_suite(path: Path) -> dict[str, Any] | None:
    """A suite's JSON, or None where there is none.

    Raises:
        InputError: if it is not readable or of another version.
    """
    try:
        value = json.loads(path.read_text(encoding='utf-8'))
        written = value['format']
        if written == FORMAT:
            _check(value)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f'{path}: not a results file; move it away') from None
    if written != FORMAT:
        raise InputError(
            f'{path}: results of version {written}, this is version {FORMAT}; '
            'choose another --out, or move it away'
        )
    return value


def _check(suite: Mapping[str, Any]) -> None:
    """Looks up what readers of a suite rely on.

    Raises:
        KeyError, TypeError, AttributeError: if it is not there.
    """
    for name in ('suite', 'title', 'note', 'sources', 'target', 'settings'):
        suite[name]
    for name in ('seeds', 'sessions', 'claims', 'rows'):
        iter(suite[name])
    for session in suite['sessions']:
        for name in ('command', 'commit', 'machine', 'workers', 'threads'):
            session[name]
        float(session['seconds'])
    for row in suite['rows']:
        for name in ('key', 'title', 'reference', 'stage', 'ours', 'x'):
            row[name]
        for run in row['runs']:
            for name in ('id', 'seed', 'reason', 'true_labels', 'rounds'):
                run[name]
            float(run['seconds'])
            scored = [run['scores']] if run['status'] == 'done' else []
            for scores in [*scored, *run['rounds']]:
                for name in SCORES:
                    float(scores[name])


def read_suites(folder: Path) -> dict[str, dict[str, Any]]:
    """The suites whose JSON a folder has, by key, as `read_suite`."""
    found = {key: read_suite(folder / f'{key}.json') for key in TITLES}
    return {key: suite for key, suite in found.items() if suite}


def write_suite(path: Path, suite: Mapping[str, Any]) -> None:
    """Writes a suite's JSON, a run on each line."""
    write_text(path, _text(suite))


def _text(suite: Mapping[str, Any]) -> str:
    """JSON in which two versions differ by the lines of their runs."""
    rows = []
    for row in suite['rows']:
        runs = [f'    {json.dumps(run)}' for run in row['runs']]
        fields = {key: v for key, v in row.items() if key != 'runs'}
        start = json.dumps(fields).removesuffix('}')
        body = ',\n'.join(runs)
        rows.append(f'   {start}, "runs": [\n{body}\n   ]}}')
    parts = [
        f' {json.dumps(key)}: {json.dumps(value)}'
        for key, value in suite.items()
        if key != 'rows'
    ]
    parts.append(' "rows": [\n' + ',\n'.join(rows) + ']')
    return '{\n' + ',\n'.join(parts) + '}\n'


def suite_as_dict(
    base: CN,
    suite: Suite,
    seeds: list[int],
    runs: Mapping[tuple[str, int], dict[str, Any] | None],
    sessions: list[dict[str, Any]],
) -> dict[str, Any]:
    """What a suite's JSON holds.

    Args:
        base: settings of the full model.
        suite: its rows and claims.
        seeds: in the order of the columns.
        runs: of `run_as_dict`, by (row, seed); None where there is none yet.
        sessions: the commands that it was made by.
    """
    default = flatten(get_default_config())
    rows = []
    for row in suite.rows:
        of_row = (runs[row.key, seed] for seed in seeds)
        rows.append({**row._asdict(), 'runs': [r for r in of_row if r]})
    return {
        'format': FORMAT,
        'suite': suite.key,
        'title': suite.title,
        'note': suite.note,
        'source_digest': source_digest(),
        'sources': list(base.data.sources),
        'target': base.data.targets[0],
        'settings': {
            k: v for k, v in flatten(base).items() if v != default[k]
        },
        'seeds': [s for s in seeds if any(runs[r.key, s] for r in suite.rows)],
        'sessions': sessions,
        'claims': [claim._asdict() for claim in suite.claims],
        'rows': rows,
    }


def reported_stage(row: Row) -> str:
    """Of a run's rows, the stage whose scores a row has."""
    return 'oracle' if row.seat == 'oracle' else row.stage


def run_as_dict(
    row: Row, seed: int, record: dict[str, Any], target: str
) -> dict[str, Any]:
    """One run of a row: the stage that is reported, and its rounds.

    Args:
        row: that it belongs to.
        seed: of the run.
        record: what its process wrote.
        target: name of the data set whose scores are reported.
    """
    own = [r for r in record['rows'] if r['dataset'] == target]
    stage = reported_stage(row)
    run = {
        'seed': seed,
        'id': record['id'],
        'status': record['status'],
        'reason': record['reason'],
        'seconds': record['seconds'],
        'true_labels': record.get('oracle', False),
        'num_clusters': record.get('num_clusters'),
        'means': record.get('means', {}),
    }
    for name in ('selection', 'threshold'):
        if name in record:
            run[name] = record[name]
    scored = [r for r in own if r['stage'] == stage]
    if scored:
        run['stage'] = stage
        run['scores'] = {name: scored[-1][name] for name in SCORES}
    elif record['status'] == 'done':
        run.update(status='failed', reason=f'no row of stage {stage}')
    run['rounds'] = [
        {'round': r['round'], **{name: r[name] for name in SCORES}}
        for r in own
        if r['stage'] in ('adabn', 'round', 'oracle')
    ]
    return run
