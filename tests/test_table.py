"""evaluation/table.py: the rounds' figures as text."""

from torchreid_daam.evaluation.table import health_table

ONE = {
    'round': 1,
    'num_clusters': 40,
    'singletons': 3,
    'largest_share': 0.0625,
    'agreement': None,
    'changed': None,
    'silhouette': 0.1234,
    'cameras_per_cluster': 2.5,
    'probe_accuracy': 0.97,
}


def test_without_labels():
    two = {**ONE, 'round': 2, 'agreement': 0.5, 'changed': 0.25}
    head, rule, first, second = health_table([ONE, two]).splitlines()
    assert head.split()[:2] == ['round', 'clusters']
    assert first.split() == '1 40 3 6.2 - - 0.123 2.5 0.97'.split()
    assert second.split() == '2 40 3 6.2 0.500 25.0 0.123 2.5 0.97'.split()
    assert len({len(head), len(rule), len(first), len(second)}) == 1


def test_oracle_figures_are_marked():
    oracle = {'purity': 0.5, 'nmi': 0.75, 'ari': 0.25, 'pair_f_score': 0.125}
    text = health_table([{**ONE, 'oracle': oracle}])
    assert (
        text.splitlines()[2].split()[-4:] == '0.500 0.750 0.250 0.125'.split()
    )
    assert 'purity*' in text and text.splitlines()[-1].startswith('* oracle')
    assert 'oracle' not in health_table([ONE])


def test_figures_that_are_missing():
    # A source is needed to compare domains.
    known = {'round': 1, 'num_clusters': 2}
    assert health_table([known]).splitlines()[2].split() == [
        '1',
        '2',
        *'-------',
    ]
