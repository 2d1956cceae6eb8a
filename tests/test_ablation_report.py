"""The document made of suites' JSON whose numbers are known."""

import json

import numpy as np
import pytest

from tables import looks, publish, report
from tables.jobs import FORMAT
from tables.missing import missing_sentence, without_missing
from tables.pair_tables import difference_table, mean_table
from tables.records import (
    SCORES,
    read_suite,
    run_as_dict,
    suite_as_dict,
    write_suite,
)
from tables.rows import TITLES
from tables.runner import run_suites
from tables.scores import best_baseline
from tables.sessions import machine, revision, session_lines
from tables.source import REPOSITORY
from tables.suites import suites
from tables.verdicts import sentences
from tiny import tiny_config
from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import write_arrays

pytest.importorskip('matplotlib')  # the extra `results`
SESSION = {
    'command': ['ablation.py', 'all', 'data.transforms', "['random_flip']"],
    'commit': 'abc1234',
    'machine': 'a processor, 2 cores',
    'workers': 2,
    'threads': 1,
    'seconds': 90.0,
}
# mAP by row and seed; rank 1 is 10 higher, and so on.
VALUES = {
    'table4': {
        'full': (60, 62, 64),
        'no_ds': (50, 51, 51),  # 10, 11, 13 less
        'grl': (61, 61, 65),  # -1, 1, -1
        'no_weights': (70, 74, 75),
    },
    'baselines': {
        'full': (60, 62, 64),
        'direct': (20, 20, 20),
        'arn': (40, 41, 42),
        'pul': (44, 43, 45),
        'oracle': (80, 81, 82),
    },
    'fig6': {'full': (60, 62, 64), 'k0.5': (44, 43, 46)},
    'fig5': {'full': (60, 62, 64)},
}


def record(key, seed, value, stage):
    def row(stage, round_, value):
        scores = {n: value + 10 * i for i, n in enumerate(SCORES)}
        return {'stage': stage, 'round': round_, 'epoch': 0,
                'dataset': 'synthetic_target', **scores}  # fmt: skip

    rows = [row('adabn', 0, value - 9), row('round', 1, value)]
    rows += [row('direct', 0, value), row(stage, 1, value)]
    return {
        'id': f'{key}-{seed}',
        'status': 'done',
        'reason': '',
        'rows': rows,
        'seconds': 60.0,
        'oracle': key == 'oracle',
        'means': {'weights': 0.4},
    }


def as_run(row, seed, found):
    return run_as_dict(row, seed, found, 'synthetic_target')


@pytest.fixture
def out(tmp_path):
    base = tiny_config(tmp_path)
    for name, values in VALUES.items():
        suite = suites(base)[name]
        runs = {(r.key, s): None for r in suite.rows for s in range(5)}
        for row in suite.rows:
            stage = 'oracle' if row.key == 'oracle' else row.stage
            for seed, value in enumerate(values.get(row.key, ())):
                found = record(row.key, seed, value, stage)
                runs[row.key, seed] = as_run(row, seed, found)
            if row.key == 'mmd':
                failed = {
                    **record('mmd', 0, 0, 'final'),
                    'status': 'failed',
                    'reason': 'ValueError: a | b',
                    'rows': [],
                }
                runs['mmd', 0] = as_run(row, 0, failed)
        value = suite_as_dict(base, suite, list(range(5)), runs, [SESSION])
        write_suite(tmp_path / f'{name}.json', value)
    write_arrays(
        tmp_path / 'runs' / 'full-0' / 'explain.npz',
        {
            'weights': np.array([0.4, 0.45]),
            'p_o_noise': np.ones(3),
            'cosine': np.zeros(3),
        },
    )
    return tmp_path


@pytest.fixture
def text(out):
    report.write_report(out, out / 'doc.md')
    return (out / 'doc.md').read_text()


def test_mean_spread_and_paired_difference_by_hand(text):
    # Differences -10, -11, -13: mean -11.33, sd 1.528, t 4.3027: ± 3.79.
    assert (
        '| without L_DS | 50.7 ± 0.6 | 60.7 ± 0.6 | 70.7 ± 0.6 | 80.7 ± 0.6 '
        '| 3 | full DAAM | -11.3 [-15.1, -7.5] | 60 |'
    ) in text


def test_orders_are_told_from_intervals(text):
    assert (
        'full DAAM over without L_DS: **holds** (+11.3 [+7.5, +15.1] mAP; '
        'the paper: +2.3 and +2.6).'
    ) in text
    # The mean is below 0, the interval is not.
    assert 'over GRL instead of L_DS: **not shown: the interval' in text
    assert 'over L_ReIDt without weights: **reversed**' in text
    assert 'Not run yet: weights shuffled over images; weights' in text
    assert 'over weights shuffled' not in text


def test_what_failed_and_who_read_labels(text):
    assert 'MMD instead of L_DS, seed 0 | failed: ValueError: a \\| b' in text
    assert '| oracle: true target labels † | 81.0 ± 1.0' in text
    assert "† reads the target's true identities." in text


def test_how_it_was_made(text):
    assert (
        '- `python projects/daam/ablation.py all data.transforms '
        "'['\"'\"'random_flip'\"'\"']'`: 2 at once, 1 thread each, "
        'a processor, 2 cores, commit abc1234, 1.5 min'
    ) in text
    assert 'Seeds 0, 1, 2; synthetic_source to synthetic_target' in text


def test_a_command_given_again_is_one_line():
    other = {**SESSION, 'commit': 'def5678'}
    idle = {**other, 'seconds': 0.2}
    lines = session_lines({'sessions': [SESSION, idle, SESSION, idle]})
    assert len(lines) == 1
    assert lines[0].endswith('abc1234, 3.0 min for all that it ran, in 2 goes')
    assert len(session_lines({'sessions': [SESSION, other]})) == 2
    # Another suite's command did the work.
    (line,) = session_lines({'sessions': [idle]})
    assert line.endswith('def5678, 0.0 min for all that it ran')


def test_rounds_and_clusters(text, out):
    assert '| 0 (AdaBN) | 53.0 ± 2.0 | 63.0 ± 2.0 | 3 |' in text
    assert 'Round 1 over AdaBN: **holds** (+9.0 [+9.0, +9.0] mAP' in text
    # PUL is the best without labels; 0, 0, 1 above it.
    assert 'K as set over the best baseline, PUL: **holds**' in text
    assert '0.5 times K over the best baseline, PUL: **not shown' in text
    for name in ('fig5', 'fig6', 'weights', 'p_o', 'cosine'):
        assert f'(doc/{name}.png)' in text
        assert (out / 'doc' / f'{name}.png').read_bytes()[1:4] == b'PNG'
        assert (out / 'doc' / f'{name}.pdf').read_bytes()[:4] == b'%PDF'


def test_published_figures_share_no_table_with_ours(text):
    tables = [part for part in text.split('\n\n') if part.startswith('|')]
    assert len(tables) == 5
    (published,) = [t for t in tables if 'TJ-AIDL' in t]
    assert 'not measured here' in published and '±' not in published
    assert not any('TJ-AIDL' in t or '53.1' in t for t in tables[:-1])


def test_the_same_json_gives_the_same_document(text, out):
    before = {p: p.read_bytes() for p in out.glob('doc*/*') if p.is_file()}
    report.write_report(out, out / 'doc.md')
    assert (out / 'doc.md').read_text() == text
    assert {p: p.read_bytes() for p in before} == before


def test_methods_that_some_pairs_lack():
    rows = [
        pairs_row('hard_full', 'full', 40, 60),
        pairs_row('hard_plus', 'full', 70),
        pairs_row('hard_more', 'full'),
        pairs_row('few_full', 'full', 30),
        pairs_row('few_plus', 'full'),
        pairs_row('few_more', 'full'),
    ]
    over = ['hard', 'few']
    claims = [
        {'better': 'plus', 'worse': 'full', 'over': over},
        {'better': 'more', 'worse': 'full', 'over': over},
        {'better': 'hard_more', 'worse': 'hard_full'},
    ]
    suite = {'suite': 'pairs', 'rows': rows, 'claims': claims, 'seeds': [0, 1]}
    said = (
        'Not run yet: the more; the plus on few. Not all seeds yet: the plus '
        'on hard; the full on few.'
    )
    assert missing_sentence(suite) == said
    whole = without_missing(suite)
    kept = [rows[at] for at in (0, 1, 3, 4)]
    assert whole == {**suite, 'rows': kept, 'claims': claims[:1]}
    assert mean_table(whole).splitlines()[2:] == [
        '| the full | 50.0 ± 14.1 | 30.0 | 35.0 |',
        '| the plus | 70.0 | – | – |',
    ]


@pytest.mark.parametrize('key', TITLES)
@pytest.mark.parametrize('number', (0, 1))
def test_a_suite_that_has_just_begun(tmp_path, key, number):
    base = tiny_config(tmp_path)
    suite = suites(base)[key]
    runs = {(row.key, 0): None for row in suite.rows}
    for row in suite.rows[:number]:
        found = record(row.key, 0, 50, row.stage)
        runs[row.key, 0] = as_run(row, 0, found)
    value = suite_as_dict(base, suite, [0], runs, [SESSION])
    write_suite(tmp_path / f'{key}.json', value)
    report.write_report(tmp_path, tmp_path / 'doc.md')
    text = (tmp_path / 'doc.md').read_text()
    assert suite.title in text
    missing = len(suite.rows) > number
    assert ('Not run yet: ' in text) == missing
    assert not missing or suite.rows[-1].title.rpartition(': ')[2] in text


def test_the_best_baseline_needs_all_seeds(out):
    found = read_suite(out / 'baselines.json')
    assert best_baseline(found, [0, 1]) == ('PUL', {0: 44, 1: 43})
    assert best_baseline(found, [0, 4]) is None
    assert best_baseline(None, [0]) is None


def test_without_baselines_clusters_stand_alone(out):
    lines = sentences(read_suite(out / 'fig6.json'), {})
    assert lines[0].startswith('No results of a baseline')


def test_files_that_are_no_results(tmp_path):
    assert read_suite(tmp_path / 'fig5.json') is None
    with pytest.raises(InputError, match='no results of any suite'):
        report.write_report(tmp_path, tmp_path / 'doc.md')
    for text in ('[]', '{}', 'no JSON', json.dumps({'format': FORMAT})):
        (tmp_path / 'fig5.json').write_text(text)
        with pytest.raises(InputError, match='not a results file'):
            read_suite(tmp_path / 'fig5.json')
    (tmp_path / 'fig5.json').write_text(json.dumps({'format': 0}))
    with pytest.raises(InputError, match='results of version 0'):
        report.write_report(tmp_path, tmp_path / 'doc.md')


def test_without_matplotlib_it_is_said_before_anything_runs(monkeypatch):
    monkeypatch.setattr(report, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match='matplotlib: not installed'):
        run_suites(
            *(None, ['fig5'], [0]),
            **{'rows': None, 'workers': 1, 'out': None, 'command': []},
        )


def test_where_it_was_made(tmp_path):
    assert revision(tmp_path) == 'unknown'
    assert (
        revision(REPOSITORY) != 'unknown' or not (REPOSITORY / '.git').exists()
    )
    assert 'cores' in machine()


def test_shares_and_means_over_pairs_by_hand():
    def row(key, *values):
        runs = [
            {'seed': s, 'status': 'done', 'scores': {'mAP': v}}
            for s, v in enumerate(values)
        ]
        pair, _, title = key.partition('_')
        return {'key': key, 'title': f'{pair}: {title}', 'runs': runs}

    def claim(**more):
        over = ('easy', 'hard', 'few')
        empty = {'equal': False, 'least': 0.0, 'paper': ()}
        return {'better': 'a', 'worse': 'b', 'over': over, **empty, **more}

    suite = {
        'suite': 'pairs',
        'rows': [
            row('easy_a', 80, 84),
            row('easy_b', 70, 78, 99),
            row('hard_a', 40, 60),
            row('hard_b', 36, 32),
            row('few_a', 54, 60, 70),
            row('few_b', 40, 40, 10),
        ],
        'claims': [claim(least=13.0), claim(share=1.3), claim(share=1.5)],
    }
    mean, reached, not_reached = sentences(suite, {})
    # Seed 0: 10, 4 and 14 more, 28 / 3; seed 1: 6, 28 and 20, 18. Mean
    # 13.67, sd 6.128, t 12.706: 13.67 ± 55.06.
    assert mean == (
        'a over b on easy, hard, few: **not shown: the interval holds 0** '
        '(+13.7 [-41.4, +68.7] mAP).'
    )
    # Seed 0: 8 / 7, 10 / 9 and 27 / 20; seed 1: 14 / 13, 15 / 8 and 3 / 2.
    # By pair 1.110, 1.493, 1.425; by seed 1.2013, 1.4840.
    assert reached == (
        'a as a part of b on easy, hard, few: **reached in the mean, the '
        'interval begins below that** (1.343 [-0.453, 3.138], least 1.110; '
        '1.30 wanted).'
    )
    assert '**not reached** (1.343 ' in not_reached
    # Beside a claim of the paper's, others are told from it.
    suite['claims'] = [claim(), claim(paper=(1.5, -2.0))]
    ours, papers = sentences(suite, {})
    assert ours.endswith('mAP; not a claim of the paper).')
    assert papers.endswith('mAP; the paper: +1.5 and -2.0).')
    suite['claims'] = [
        claim(better='hard_a', worse='hard_b', over=(), share=1.2)
    ]
    (one,) = sentences(suite, {})
    assert one.startswith('hard: a as a part of hard: b: **reached in the ')
    # 10 / 9 and 15 / 8; of one pair, the least is a seed's.
    assert '** (1.493 [' in one and ', least 1.111; 1.20' in one
    suite['claims'] = [claim(share=0.5), claim(least=9.0)]
    suite['rows'] = [
        {**r, 'runs': r['runs'][:1]} for r in suite['rows'][:5]
    ] + [{**suite['rows'][5], 'runs': []}]
    for text in sentences(suite, {}):
        assert text == (
            'a and b on easy, hard, few: **not measured**: 2 of 3 pairs.'
        )


def pairs_row(key, reference, *values, true_labels=False):
    pair, _, method = key.partition('_')
    runs = [
        {
            'seed': seed,
            'status': 'done',
            'scores': {'mAP': value},
            'true_labels': true_labels,
        }
        for seed, value in enumerate(values)
    ]
    return {
        'key': key,
        'title': f'{pair}: the {method}',
        'reference': f'{pair}_{reference}',
        'runs': runs,
    }


def test_tables_of_methods_by_pairs():
    suite = {
        'rows': [
            pairs_row('hard_full', 'full', 40, 60),
            pairs_row('hard_plus', 'full', 70, 72),
            pairs_row('hard_long_oracle', 'plus', 75, 80, true_labels=True),
            pairs_row('one-camera_full', 'full', 60, 52),
            pairs_row('one-camera_plus', 'full', 71, 62, 99),
            pairs_row('one-camera_long_oracle', 'plus', 80, true_labels=True),
            # Of a method that other pairs have not run yet.
            pairs_row('hard_more', 'plus', 1),
        ]
    }
    means = mean_table(suite).splitlines()
    assert means[0] == '| mAP | hard | one-camera | mean |'
    # 50 and 56; of two seeds 71 and 66.5, of one 75 and 80.
    assert means[2:] == [
        '| the full | 50.0 ± 14.1 | 56.0 ± 5.7 | 53.0 |',
        '| the plus | 71.0 ± 1.4 | 77.3 ± 19.3 | 68.8 |',
        '| the long_oracle † | 77.5 ± 3.5 | 80.0 | 77.5 |',
    ]
    # 30 and 12: sd 12.73, t 12.706, 21 ± 114.4; 11 and 10: 10.5 ± 6.35. Seed 0
    # of both 20.5, seed 1 11: 15.75 ± 60.35. Only seed 0 has both oracles.
    assert difference_table(suite).splitlines()[2:] == [
        '| the plus | the full | +21.0 [-93.4, +135.4] | +10.5 [+4.1, +16.9] '
        '| +15.8 [-44.6, +76.1] |',
        '| the long_oracle † | the plus | +6.5 [-12.6, +25.6] '
        '| +9.0 (one seed) | +7.0 (one seed) |',
    ]
    suite['rows'][3]['runs'] = []
    assert '| – | – |' in mean_table(suite).splitlines()[2]
    assert difference_table(suite).splitlines()[2].endswith('| – | – |')


def test_figures_are_of_the_paper_alone(out):
    suite = read_suite(out / 'table4.json')
    rows = [
        {**row, 'title': f'{row["title"]} of plus'} for row in suite['rows']
    ]
    of_plus = {**suite, 'suite': 'plus', 'title': 'Recipe', 'rows': rows}
    write_suite(out / 'plus.json', of_plus)
    report.write_report(out, out / 'doc.md')
    text = (out / 'doc.md').read_text()
    assert '| full DAAM of plus |' in text
    assert 'full DAAM: weights 0.4' in text
    assert 'full DAAM of plus: weights' not in text


def test_a_suite_is_read_as_it_was_written(out):
    suite = read_suite(out / 'table4.json')
    lines = (out / 'table4.json').read_text().splitlines()
    runs = [run for row in suite['rows'] for run in row['runs']]
    assert len(runs) == 13
    for run in runs:
        (line,) = [at for at in lines if f'"{run["id"]}"' in at]
        assert json.loads(line.strip().rstrip(',')) == run
    write_suite(out / 'again.json', suite)
    assert (out / 'again.json').read_text().splitlines() == lines


@pytest.fixture
def published(out, monkeypatch):
    """A document of all suites, with Figures 7 and 8 as a line of text."""
    text = f'\n## {looks.LOOKS}\n\nseed 0\n'
    with monkeypatch.context() as patched:
        patched.setattr(looks, 'looks', lambda *a: text)
        publish.publish(out, out / 'docs' / 'results.md')
    return out / 'docs' / 'results.md'


def part_of(out, key):
    """A folder with the JSON of one suite, and that suite to be changed."""
    suite = read_suite(out / f'{key}.json')
    (out / 'part').mkdir(exist_ok=True)
    write_suite(out / 'part' / f'{key}.json', suite)
    return out / 'part', suite


def changed_lines(before, after):
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return [b for a, b in pairs if a != b]


def test_sections_stay_without_their_results(out, published):
    whole = published.read_text()
    folder = published.with_suffix('')
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert {f'{name}.json' for name in VALUES} < set(before)
    part, suite = part_of(out, 'baselines')
    suite['rows'][0]['runs'][0]['scores']['mAP'] = 35.0
    write_suite(part / 'baselines.json', suite)
    publish.publish(part, published)
    changed = published.read_text()
    lines = changed_lines(whole, changed)
    assert lines and all('direct transfer' in line for line in lines)
    after = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {
        'baselines.json'
    }
    publish.publish(part, published)
    assert published.read_text() == changed
    # Figure 6 has its baseline from beside the document.
    part, _ = part_of(out, 'fig6')
    (part / 'baselines.json').unlink()
    publish.publish(part, published)
    assert published.read_text() == changed


def test_text_of_others_stays_and_order_is_ours(out, published):
    whole = published.read_text()
    parts = whole.split('\n## ')
    mixed = [parts[0], 'Mine\n\nnotes\n', *reversed(parts[1:])]
    published.write_text('\n## '.join(mixed))
    part, _ = part_of(out, 'table4')
    publish.publish(part, published)
    assert published.read_text() == whole + '\n## Mine\n\nnotes\n'


def test_nothing_published_is_lost(out, published):
    text = published.read_text()
    copies = {p: p.read_bytes() for p in published.with_suffix('').iterdir()}
    part, suite = part_of(out, 'baselines')

    def refused(said, **changes):
        write_suite(part / 'baselines.json', {**suite, **changes})
        with pytest.raises(InputError, match=said):
            publish.publish(part, published)
        assert published.read_text() == text
        assert {p: p.read_bytes() for p in copies} == copies

    row = {**suite['rows'][0], 'runs': suite['rows'][0]['runs'][1:]}
    refused(
        'has 1 runs of the suite baselines that --out lacks, such as direct, '
        'seed 0',
        rows=[row, *suite['rows'][1:]],
    )
    refused('other data', sources=['market1501'])
    refused('settings of the full model', settings={'train.lr': 1.0})
    text = 'my own file\n'
    published.write_text(text)
    refused('not a document of results')
    published.unlink()
    published.mkdir()
    with pytest.raises(InputError, match='not readable'):
        publish.publish(part, published)


def test_a_document_in_the_folder_of_the_results(out, monkeypatch):
    monkeypatch.setattr(looks, 'looks', lambda *a: '')
    part, _ = part_of(out, 'fig5')
    before = (part / 'fig5.json').stat().st_mtime_ns
    publish.publish(part, part.with_suffix('.md'))
    assert (part / 'fig5.json').stat().st_mtime_ns == before
