"""runs/results.py: the rows of a run."""

import json

import numpy as np
import pytest

from torchreid_daam.runs.results import Results

CMC = np.linspace(0.5, 1, 50)  # rank 1: 0.5, rank 50: 1


def test_a_row_in_percent_and_unrounded():
    results = Results('abc', 4)
    cmc = np.zeros(20, np.float32)
    cmc[[0, 4, 9, 19]] = [0.25, 0.5, 0.75, 1]
    results.add('direct', 0, 12, 'market1501', cmc, np.float64(1 / 3))
    assert results.as_dict() == {
        'format': 1,
        'config_hash': 'abc',
        'seed': 4,
        'rows': [
            {
                'stage': 'direct',
                'round': 0,
                'epoch': 12,
                'dataset': 'market1501',
                'mAP': 100 * (1 / 3),
                'rank1': 25.0,
                'rank5': 50.0,
                'rank10': 75.0,
                'rank20': 100.0,
            }
        ],
    }
    row = results.rows[0]
    assert all(type(row[key]) is float for key in ('mAP', 'rank1', 'rank20'))


def test_rows_stay_in_order_and_the_same_one_is_replaced():
    results = Results()
    results.add('round', 1, 5, 'a', CMC, 0.1)
    results.add('round', 1, 5, 'b', CMC, 0.2)
    results.add('round', 2, 9, 'a', CMC, 0.3)
    results.add('round', 1, 6, 'a', CMC, 0.4)
    found = [(r['round'], r['dataset'], r['mAP']) for r in results.rows]
    assert found == [(1, 'b', 20), (2, 'a', 30), (1, 'a', 40)]


def test_restored_rows_are_copies():
    results, row = Results(), {'stage': 'final', 'round': 1, 'dataset': 'a'}
    results.restore([row])
    row['round'] = 2
    assert results.rows == [{'stage': 'final', 'round': 1, 'dataset': 'a'}]


def test_what_was_written_is_taken_as_it_is():
    results = Results('h', 3)
    results.add('final', 1, 5, 'a', CMC, 0.1)
    results.notes['b'] = 'c'
    again = Results('h', 3)
    again.add('round', 9, 9, 'z', CMC, 0.9)
    again.take(json.loads(json.dumps(results.as_dict())))
    assert again.as_dict() == results.as_dict()


def test_find_takes_the_last():
    results = Results()
    results.add('round', 1, 5, 'a', CMC, 0.1)
    results.add('round', 2, 9, 'a', CMC, 0.2)
    results.add('round', 2, 9, 'b', CMC, 0.3)
    assert results.find('round')['dataset'] == 'b'
    assert results.find('round', 'a')['round'] == 2
    assert results.find('final') is None


def test_unknown_stage():
    with pytest.raises(ValueError, match="stage='best' is none of"):
        Results().add('best', 0, 0, 'a', CMC, 0)


def test_the_table():
    results = Results()
    cmc = np.zeros(20)
    cmc[[0, 4, 9]] = [0.25, 0.5, 1]
    results.add('direct', 0, 1, 'duke', cmc, 0.1234)
    results.add('round', 12, 1, 'duke', cmc, 0.9996)
    assert results.table().splitlines() == [
        'stage            data set    mAP  rank 1  rank 5  rank 10',
        '-' * 57,
        'direct transfer  duke       12.3    25.0    50.0    100.0',
        'round 12         duke      100.0    25.0    50.0    100.0',
    ]


def test_an_empty_table_is_a_head():
    assert len(Results().table().splitlines()) == 2
