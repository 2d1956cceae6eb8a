"""Figures: what is drawn, against values that a reader can see."""

import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from torchreid_daam import build_daam
from torchreid_daam.delivery import figures
from torchreid_daam.delivery.looking import attention_weights, embeddings
from torchreid_daam.delivery.words import verdicts


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


def test_curves_show_the_rows():
    line, second = figures.scores_by_round({'x': rows()}).axes[0].lines
    np.testing.assert_array_equal(line.get_xydata(), [[-1, 10], [1, 30]])
    np.testing.assert_array_equal(second.get_ydata(), [20, 20])


def test_long_curves_are_means_of_stretches():
    pairs = [(i, float(i % 2)) for i in range(400)]
    (line,) = figures.loss_curves({'ds': pairs}, points=100).axes[0].lines
    assert len(line.get_xdata()) == 100
    assert set(line.get_ydata()) == {0.5}


def test_words_say_what_is_good_and_what_is_not():
    def said(first, last):
        entries = [
            {'round': r, 'agreement': a} for r, a in ((2, first), (3, last))
        ]
        return verdicts(entries)[0]

    assert said(0.5, 0.7).startswith('Good')
    assert said(0.7, 0.5).startswith('Not good')
    assert verdicts([{'round': 1, 'agreement': None}]) == []
