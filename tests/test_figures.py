"""Figures: what is drawn, against values that a reader can see."""

import re
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from torchreid_daam import PseudoLabels, build_daam
from torchreid_daam.delivery import figures
from torchreid_daam.delivery.looking import attention_weights, embeddings
from torchreid_daam.delivery.words import MEANINGS, figures_table, verdicts
from torchreid_daam.evaluation.health import round_figures
from torchreid_daam.evaluation.oracle import oracle_figures


def planted(corner):
    """Weights (8, 4) that favour one corner."""
    weights = np.zeros((8, 4), np.float32)
    weights[corner] = 1
    return weights


@pytest.mark.parametrize('corner', [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_the_favoured_corner_is_warm_and_the_others_are_cold(corner):
    image = np.full((64, 32, 3), 128, np.uint8)
    drawn = figures.blended(image, planted(corner), 0, 1).astype(int)
    assert drawn.shape == image.shape
    for other in [(0, 0), (0, -1), (-1, 0), (-1, -1)]:
        red, _, blue = drawn[other]
        assert (red > blue) == (other == corner)


def test_half_of_the_image_stays():
    image = np.zeros((8, 4, 3), np.uint8)
    weights = np.ones((8, 4), np.float32)
    black = figures.blended(image, weights, 0, 1).astype(int)
    white = figures.blended(image + 255, weights, 0, 1).astype(int)
    assert np.abs(white - black - 127.5).max() <= 1


def tiny_model(**options):
    return build_daam(
        'resnet_tiny', 3, 4, pretrained=False, seed=0, **options
    ).eval()


def test_residual_weights_add_up_to_one():
    images = list(torch.rand(3, 3, 64, 32))
    weights = attention_weights(tiny_model(), images)
    assert weights['DSH'].shape == (3, 8, 4)
    total = weights['DSH'] + weights['DSP']
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_a_planted_attention_is_found_in_the_overlay():
    model = tiny_model()

    class Planted(torch.nn.Module):
        def forward(self, f):
            a = torch.full_like(f, 0.1)
            a[..., :2, :1] = 0.9
            return a

    model.attention = Planted()
    weights = attention_weights(model, list(torch.rand(1, 3, 64, 32)))
    image = np.full((64, 32, 3), 128, np.uint8)
    for name, warm in (('DSH', True), ('DSP', False)):
        drawn = figures.blended(image, weights[name][0], 0.1, 0.9).astype(int)
        assert (drawn[0, 0, 0] > drawn[0, 0, 2]) == warm
        assert (drawn[-1, -1, 0] > drawn[-1, -1, 2]) != warm


def test_weights_of_other_attentions():
    images = list(torch.rand(2, 3, 64, 32))
    own = attention_weights(tiny_model(attention='independent'), images)
    assert np.abs(own['DSH'] + own['DSP'] - 1).max() > 1e-3
    assert attention_weights(tiny_model(attention='none'), images) == {}
    alone = attention_weights(tiny_model(dsp_branch=False), images)
    assert list(alone) == ['DSH']


def test_embeddings_are_those_of_the_model():
    model, images = tiny_model(), torch.rand(3, 3, 64, 32)
    with torch.no_grad():
        expected = [model(image[None])[0].numpy() for image in images]
    found = embeddings(model, list(images))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_tsne_keeps_two_heaps_apart_and_is_seeded():
    generator = np.random.default_rng(0)
    features = generator.normal(0, 0.05, (40, 8))
    features[:20, 0] += 1
    features[20:, 1] += 1
    places = figures.tsne(features)
    assert places.min() == 0 and places.max() == 1
    np.testing.assert_array_equal(places, figures.tsne(features))
    near = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(near, np.inf)
    heap = np.arange(40) // 20
    assert (heap[near.argmin(axis=1)] == heap).all()
    with pytest.raises(ValueError, match='at least 5'):
        figures.tsne(features[:4])


def rows():
    row = {'dataset': 'x', 'mAP': 10.0, 'rank1': 20.0}
    return [
        {**row, 'stage': 'direct', 'round': 0},
        {**row, 'stage': 'round', 'round': 1, 'mAP': 30.0},
    ]


CALIBRATION = {
    'threshold': 0.2,
    'interval': [0.1, 0.3],
    'source': None,
    'target': {
        'curve': [
            {'threshold': 0.0, 'false_accepts': 0.0, 'false_rejects': 1.0},
            {'threshold': 0.4, 'false_accepts': 0.5, 'false_rejects': 0.25},
        ]
    },
}


def every_figure():
    image = np.zeros((8, 4, 3), np.uint8)
    places = np.random.default_rng(0).random((6, 2))
    tile = figures.Tile
    tiles = [tile(image, '$_{'), tile(None), tile(image, '✗', False)]
    return {
        'loss': figures.loss_curves({'ds': [(0, 1.0), (1, 0.5)]}),
        'scores': figures.scores_by_round({'x': rows()}),
        'rounds': figures.round_figures([{'round': 1, 'mean_weight': 0.5}]),
        'weights': figures.weight_histogram(np.array([0.2, 0.4])),
        'overlay': figures.attention_overlays(
            [image], {'DSH': np.ones((1, 2, 1))}, ['<b>']
        ),
        'tsne': figures.embedding_figure({'a': places}, [*'aabb', '', '']),
        'sheet': figures.image_rows([('one', tiles)]),
        'threshold': figures.threshold_curves(CALIBRATION),
    }


def test_every_figure_becomes_svg_png_and_pdf(tmp_path):
    for name, figure in every_figure().items():
        assert isinstance(figure, Figure)
        text = figures.svg(figure)
        assert text.startswith('<svg') and 'currentColor' in text
        assert not re.search(r'href="(?!#|data:)', text)
        png, pdf = figures.save(figure, tmp_path / name)
        with Image.open(png) as image:
            assert round(image.info['dpi'][0]) == 300
        assert pdf.read_bytes().startswith(b'%PDF')


def crowded_figures():
    """Each figure as full as a long run makes it."""
    image = np.zeros((16, 8, 3), np.uint8)
    places = np.random.default_rng(0).random((6, 2))
    row = {'dataset': 'x', 'mAP': 10.0, 'rank1': 100.0}
    stages = [{**row, 'stage': 'direct', 'round': 0}]
    stages += [{**row, 'stage': 'adabn', 'round': 0}]
    stages += [{**row, 'stage': 'round', 'round': r} for r in range(1, 41)]
    terms = ('loss', 'reid_s', 'reid_t', 'ds', 'dsp', 'orth')
    health = [
        {'round': r, 'agreement': 0.5, 'mean_weight': 0.5}
        for r in range(1, 41)
    ]
    tiles = [figures.Tile(image, f'{r} ✗', False) for r in range(1, 10)]
    named = ('cluster 1000', 'identity 1000', 'cluster 999', 'identity 999')
    return {
        'loss': figures.loss_curves(
            {name: [(0, 1e5), (10**6, 0.5)] for name in terms}
        ),
        'scores': figures.scores_by_round({'x': stages}),
        'runs': figures.scores_by_round(
            {f'a-run-{i}': stages for i in range(6)}, ['mAP']
        ),
        'rounds': figures.round_figures(health),
        'weights': figures.weight_histogram(np.full(10**5, 0.2)),
        'overlay': figures.attention_overlays(
            [image] * 8,
            {k: np.random.rand(8, 2, 1) / 1e3 for k in ('DSH', 'DSP')},
            ['at random'] * 4 + ['least DSH'] * 2 + ['most DSH'] * 2,
        ),
        'one overlay': figures.attention_overlays(
            [image], {'DSH': np.random.rand(1, 2, 1)}, ['']
        ),
        'tsne': figures.embedding_figure(
            dict.fromkeys(('before', 'after', 'a (supervised)'), places),
            [*named, 'cluster 998', ''],
        ),
        'sheet': figures.image_rows(
            [(f'cluster {1000 + i}\n10000 images', tiles) for i in range(3)]
        ),
        'threshold': figures.threshold_curves(
            {**CALIBRATION, 'source': CALIBRATION['target']}
        ),
    }


NAMES = list(crowded_figures())


def drawn_texts(figure):
    """Every text that a figure shows."""
    found = [t for legend in figure.legends for t in legend.get_texts()]
    for axes in figure.axes:
        found.append(axes.title)
        if not axes.axison:
            continue
        for axis in (axes.xaxis, axes.yaxis):
            found.append(axis.label)
            low, high = sorted(axis.get_view_interval())
            places = zip(axis.get_ticklocs(), axis.get_ticklabels())
            found += [text for at, text in places if low <= at <= high]
    return [text for text in found if text.get_text().strip()]


@pytest.mark.parametrize('name', NAMES)
def test_no_label_lies_on_another(name):
    figure = crowded_figures()[name]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in drawn_texts(figure)
    ]
    assert len(boxes) > 2
    for (one, box), (other, more) in combinations(boxes, 2):
        assert not box.overlaps(more), (one, other)
    for text, box in boxes:
        assert min(box.x0, box.y0) >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text


def test_frames_say_what_is_right():
    image = np.zeros((8, 4, 3), np.uint8)
    tiles = [
        figures.Tile(image, 'query'),
        figures.Tile(image, '', True),
        figures.Tile(image, '', False),
    ]
    axes = figures.image_rows([('one', tiles)]).axes
    spines = [axis.spines['left'] for axis in axes]
    assert [s.get_visible() for s in spines] == [False, True, True]
    greens, reds = [
        255 * np.array(to_rgb(s.get_edgecolor())) for s in spines[1:]
    ]
    assert greens[1] > 2 * greens[0] and reds[0] > 2 * reds[1]
    assert spines[1].get_linestyle() == '-' != spines[2].get_linestyle()


def test_the_threshold_stands_in_its_curves():
    figure = figures.threshold_curves(CALIBRATION)
    line, accepts, rejects = figure.axes[0].lines
    assert set(line.get_xdata()) == {0.2}
    np.testing.assert_array_equal(accepts.get_xydata(), [[0, 0], [0.4, 50]])
    np.testing.assert_array_equal(rejects.get_ydata(), [100, 25])
    (band,) = figure.axes[0].patches
    # matplotlib 3.8 draws a span as a polygon, later ones as a rectangle.
    shape = band.get_patch_transform().transform_path(band.get_path())
    assert {round(x, 6) for x in shape.vertices[:, 0]} == {0.1, 0.3}


def test_the_histogram_counts_images():
    figure = figures.weight_histogram(np.array([0.2, 0.2, 0.45]))
    bars = {
        round(bar.get_x() + bar.get_width() / 2, 3): bar.get_height()
        for bar in figure.axes[0].patches
        if bar.get_height()
    }
    assert sum(bars.values()) == 3
    assert bars[0.205] == 2 and bars[0.455] == 1


def test_curves_show_the_rows():
    line, second = figures.scores_by_round({'x': rows()}).axes[0].lines
    np.testing.assert_array_equal(line.get_xydata(), [[-1, 10], [1, 30]])
    np.testing.assert_array_equal(second.get_ydata(), [20, 20])


def test_long_curves_are_means_of_stretches():
    pairs = [(i, float(i % 2)) for i in range(400)]
    (line,) = figures.loss_curves({'ds': pairs}, points=100).axes[0].lines
    assert len(line.get_xdata()) == 100
    assert set(line.get_ydata()) == {0.5}


@pytest.mark.parametrize(
    ('first', 'last', 'said'),
    [
        ({'agreement': 0.5}, {'agreement': 0.7}, 'Good: the groups settle'),
        ({'agreement': 0.7}, {'agreement': 0.5}, 'Not good: the groups drift'),
        ({'mean_weight': 0.36}, {'mean_weight': 0.361}, None),
        ({'mean_weight': 0.3}, {'mean_weight': 0.4}, 'Good: the labels get'),
        ({'silhouette': 0.1}, {'silhouette': 0.2}, 'Good: the groups get cl'),
        ({'silhouette': 0.4}, {'silhouette': 0.1}, 'Not good: round 2: decl'),
        (
            {},
            {'largest_share': 0.9, 'num_clusters': 9},
            'Not good: round 2: collapse, one of 9',
        ),
        (
            {'largest_share': 0.9, 'num_clusters': 9},
            {},
            'Not good: round 1: collapse, one of 9',
        ),
        ({}, {'empty_clusters': 0, 'num_clusters': 9}, 'Good: 0 of 9'),
        ({}, {'empty_clusters': 5, 'num_clusters': 9}, 'Not good: 5 of 9'),
        ({}, {'singletons': 1, 'num_clusters': 9}, None),
        ({}, {'singletons': 5, 'num_clusters': 9}, 'Not good: 5 of 9'),
        (
            {},
            {'one_camera_share': 0.9, 'cameras_per_cluster': 1.1},
            'Not good, unless there is one camera only: 90%',
        ),
        (
            {},
            {'one_camera_share': 0.1, 'cameras_per_cluster': 3.14},
            'Good: a group holds images of 3.1 cameras',
        ),
        ({}, {'probe_accuracy': 0.99}, 'To know: a plane still'),
        ({}, {'probe_accuracy': 0.6}, None),
        ({'agreement': None}, {'agreement': 'x', 'silhouette': [1]}, None),
    ],
)
def test_words_say_what_is_good_and_what_is_not(first, last, said):
    found = verdicts([{'round': 1, **first}, {'round': 2, **last}])
    if said is None:
        assert found == []
    else:
        assert found[0].startswith(said)


def test_each_figure_of_a_round_has_words():
    """All that a run writes is explained, and nothing else."""
    cameras, labels = np.array([0, 1, 0]), np.array([0, 0, 1])
    weights, centers = np.full(3, 0.5), np.zeros((2, 4))
    known = round_figures(
        PseudoLabels(labels, weights, centers), None, cameras
    )
    oracle = {f'oracle.{name}' for name in oracle_figures(labels, labels)}
    # What the observer and the engine add.
    added = {'epoch', 'score', 'silhouette', 'attention_mean'}
    added |= {'attention_entropy', 'domain_accuracy', 'probe_accuracy'}
    assert known.keys() | oracle | added == MEANINGS.keys()


def test_the_table_of_figures():
    rounds = [
        {'round': 1, 'agreement': None, 'oracle': {'purity': 0.12345}},
        {'round': 2, 'novelty': 'x' * 50, 'weight_quartiles': [0.1, 0.2, 0.3]},
    ]
    assert figures_table(rounds, lambda name, meaning: name) == [
        ('figure', 'round 1', 'round 2'),
        ('agreement', '–', '–'),
        ('purity *', '0.123', '–'),
        ('novelty', '–', 'x' * 40 + '…'),
        ('weights', '–', '0.1–0.3'),
    ]
