"""Figures on pseudo labels in plain words: what is good and what isn't."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torchreid_daam.evaluation.selection import signs

# Key of rounds.jsonl -> what a person calls it, and what to look for.
MEANINGS = {
    'epoch': ('epochs before', ''),
    'num_clusters': (
        'groups',
        'that the target images were put into; as many as there are people '
        'would be right',
    ),
    'empty_clusters': ('empty groups', '0 is good'),
    'singletons': ('groups of one image', 'many of them: too many groups'),
    'median_cluster': ('images in the middle group', ''),
    'largest_cluster': (
        'images in the largest group',
        'it should hold one person, so not many times the middle one',
    ),
    'largest_share': (
        'share of the largest group',
        'of all images; near 1 the run has collapsed',
    ),
    'left_out': ('images left out', 'they have no label, nothing trains them'),
    'mean_weight': (
        'mean weight',
        'confidence of the labels (Eq. 9), which normalised features keep '
        'below .5; higher is surer',
    ),
    'weight_quartiles': ('weights', 'from the least to the greatest'),
    'agreement': (
        'agreement',
        'with the groups of the round before (adjusted Rand index, 1 = the '
        'same); rising means that they settle',
    ),
    'changed': ('moved images', 'share that changed its group; falling'),
    'cameras_per_cluster': (
        'cameras in a group',
        'near 1 the groups are cameras and not people',
    ),
    'one_camera_share': ('groups of one camera', 'share; low is good'),
    'silhouette': (
        'silhouette',
        'from -1 to 1, how clear the groups are; wrong ones can be clear too',
    ),
    'attention_mean': (
        'mean attention',
        'share of the features that the domain-shared part gets',
    ),
    'attention_entropy': (
        'attention entropy',
        '1 = it halves everything, 0 = it parts cleanly',
    ),
    'domain_accuracy': (
        'domain head is right',
        'from .5 to 1; high: the specific part knows the domain',
    ),
    'probe_accuracy': (
        'domains told apart',
        'by a plane through the shared features: .5 = not at all, 1 = always',
    ),
    'score': ('score', 'what train.select ranked the rounds by'),
    'oracle.purity': ('purity *', 'share of images of a group’s main person'),
    'oracle.nmi': ('NMI *', 'information shared with the identities'),
    'oracle.ari': ('ARI *', 'agreement with the identities'),
    'oracle.pair_f_score': ('pair F *', 'pairs put together rightly'),
}
ORACLE = '* is from the identities of the target, which nothing else has seen.'
# Differences below this are none.
CLEAR = 0.01
Rounds = Sequence[Mapping[str, Any]]


def verdicts(rounds: Rounds) -> list[str]:
    """Sentences about the rounds: good, not good, or just to know."""
    numbers = [
        {key: entry[key] for key in entry if _number(entry, key)}
        for entry in rounds
    ]
    said = [
        f'Not good: {sign}.'
        for end in range(1, len(rounds) + 1)
        for sign in signs(numbers[:end])
    ]
    for look in (_settled, _empty, _single, _cameras, _clear, _weights):
        said += look(rounds)
    return said + _domains(rounds)


def _settled(rounds: Rounds) -> list[str]:
    return _trend(
        rounds,
        'agreement',
        'Good: the groups settle, agreement {}.',
        'Not good: the groups drift, agreement {}. A smaller train.lr or '
        'another pseudo_labels.num_clusters may help.',
    )


def _empty(rounds: Rounds) -> list[str]:
    empty, all_ = _last(rounds, 'empty_clusters', 'num_clusters')
    if all_ is None:
        return []
    if empty <= 0.05 * all_:
        return [f'Good: {empty} of {all_} groups are empty.']
    return [
        f'Not good: {empty} of {all_} groups are empty; '
        'pseudo_labels.num_clusters is high.'
    ]


def _single(rounds: Rounds) -> list[str]:
    single, all_ = _last(rounds, 'singletons', 'num_clusters')
    if all_ is None or single <= 0.25 * all_:
        return []
    return [
        f'Not good: {single} of {all_} groups hold one image; '
        'pseudo_labels.num_clusters is high.'
    ]


def _cameras(rounds: Rounds) -> list[str]:
    share, seen = _last(rounds, 'one_camera_share', 'cameras_per_cluster')
    if seen is None:
        return []
    if share > 0.5:
        return [
            f'Not good, unless there is one camera only: {share:.0%} of the '
            'groups hold one camera; groups may be cameras and not people.'
        ]
    return [f'Good: a group holds images of {seen:.1f} cameras on average.']


def _clear(rounds: Rounds) -> list[str]:
    return _trend(
        rounds,
        'silhouette',
        'Good: the groups get clearer, silhouette {}.',
        'Not good: the groups get less clear, silhouette {}.',
    )


def _weights(rounds: Rounds) -> list[str]:
    return _trend(
        rounds,
        'mean_weight',
        'Good: the labels get surer, mean weight {}.',
        'Not good: the labels get less sure, mean weight {}.',
    )


def _domains(rounds: Rounds) -> list[str]:
    (apart,) = _last(rounds, 'probe_accuracy')
    if apart is None or apart < 0.9:
        return []
    return [
        f'To know: a plane still tells the domains apart ({apart:.0%} right). '
        'Runs that adapt well can look like that too.'
    ]


def _trend(rounds: Rounds, key: str, up: str, down: str) -> list[str]:
    """What to say of a figure that should rise; no change says nothing."""
    values = [entry[key] for entry in rounds if _number(entry, key)]
    if len(values) < 2 or abs(values[-1] - values[0]) < CLEAR:
        return []
    text = up if values[-1] > values[0] else down
    return [text.format(f'{values[0]:.2f} to {values[-1]:.2f}')]


def _last(rounds: Rounds, *keys: str) -> list[Any]:
    """Numbers of the last round; all None where one is missing."""
    if all(_number(rounds[-1], key) for key in keys):
        return [rounds[-1][key] for key in keys]
    return [None] * len(keys)


def _number(entry: Mapping[str, Any], key: str) -> bool:
    value = entry.get(key)
    return isinstance(value, int | float) and not isinstance(value, bool)


def figures_table(
    rounds: Rounds, title: Callable[[str, str], Any]
) -> list[tuple[Any, ...]]:
    """Head and rows: each figure over the rounds.

    Args:
        rounds: lines of ``rounds.jsonl``; each may have others.
        title: makes a cell of a figure's name and what to look for.
    """
    flat = [_flat(entry) for entry in rounds]
    keys = dict.fromkeys(key for entry in flat for key in entry)
    rows = [('figure', *(f'round {r["round"]}' for r in rounds))]
    for key in keys:
        name, meaning = MEANINGS.get(key, (key.replace('_', ' '), ''))
        cells = [_short(entry.get(key)) for entry in flat]
        rows.append((title(name, meaning), *cells))
    return rows


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in entry.items() if key != 'round'}
    oracle = found.pop('oracle', None)
    if isinstance(oracle, dict):
        found |= {f'oracle.{key}': value for key, value in oracle.items()}
    return found


def _short(value: Any) -> str:
    if value is None:
        return '–'
    if isinstance(value, list) and value:
        return f'{_short(value[0])}–{_short(value[-1])}'
    text = f'{value:.3g}' if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f'{text[:40]}…'
