"""evaluation/distances.py: rows of a table that is never whole."""

from unittest import mock

import numpy as np
import pytest
import torch
import torchreid

from engines import make_engine
from torchreid_daam.evaluation import distances
from torchreid_daam.evaluation.distances import (
    BlockedDistances,
    blocked_distances,
)
from torchreid_daam.evaluation.ranks import evaluate_rank
from torchreid_daam.evaluation.reranking import Reranking


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(23, 8), torch.randn(57, 8)


@pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
@pytest.mark.parametrize('rows', [1, 5, 100])
def test_rows_and_ranks_are_those_of_the_table(features, metric, rows):
    table = torchreid.metrics.compute_distance_matrix(*features, metric)
    found = BlockedDistances(*features, metric, block_bytes=4 * 57 * rows)
    assert (found.rows, found.shape, len(found)) == (rows, (23, 57), 23)
    for i in (0, 1, 22, 7, 7):
        np.testing.assert_allclose(found[i], table[i], rtol=1e-5, atol=1e-5)
        assert len(found._block) <= rows
    np.testing.assert_allclose(np.asarray(found), table, atol=1e-5)
    generator = np.random.default_rng(0)
    lists = [
        generator.integers(0, high, number)
        for high, number in ((5, 23), (5, 57), (3, 23), (3, 57))
    ]
    wanted = evaluate_rank(table.numpy(), *lists)
    got = evaluate_rank(found, *lists)
    np.testing.assert_array_equal(got[0], wanted[0])
    assert got[1] == wanted[1]


def test_only_large_tables_are_cut(features, monkeypatch):
    compute = torchreid.metrics.compute_distance_matrix
    with blocked_distances():
        small = torchreid.metrics.compute_distance_matrix(*features)
        assert torch.equal(small, compute(*features))
        monkeypatch.setattr(distances, 'BLOCK_BYTES', 1000)
        large = torchreid.metrics.compute_distance_matrix(*features)
        assert isinstance(large.numpy(), BlockedDistances)
    assert torchreid.metrics.compute_distance_matrix is compute


def test_a_test_scores_the_same(root, tmp_path, monkeypatch):
    engine = make_engine(root, tmp_path)
    engine.scored_test()
    (whole,) = engine.scores.values()
    made = []
    original = BlockedDistances.__init__

    def counted(self, *args, **kwargs):
        made.append(args)
        original(self, *args, **kwargs | {'block_bytes': 200})

    monkeypatch.setattr(BlockedDistances, '__init__', counted)
    monkeypatch.setattr(distances, 'BLOCK_BYTES', 100)
    engine.scored_test()
    (cut,) = engine.scores.values()
    assert len(made) == 1
    np.testing.assert_array_equal(cut.cmc, whole.cmc)
    assert cut.mean_ap == pytest.approx(whole.mean_ap, abs=1e-12)
    engine.evaluator = 'torchreid'
    engine.scored_test()
    assert len(made) == 1  # its own evaluator reads the whole table


def rerank_upstream(queries, gallery, metric):
    tables = [
        torchreid.metrics.compute_distance_matrix(*pair, metric).numpy()
        for pair in (
            (queries, gallery),
            (queries, queries),
            (gallery, gallery),
        )
    ]
    return torchreid.utils.re_ranking(*tables)


@pytest.mark.parametrize('metric', ['euclidean', 'cosine'])
def test_reranked_rows_are_torchreids(metric):
    torch.manual_seed(1)
    centers = torch.randn(12, 16)
    queries = centers[torch.arange(30) % 12] + 0.4 * torch.randn(30, 16)
    gallery = centers[torch.arange(140) % 12] + 0.4 * torch.randn(140, 16)
    wanted = rerank_upstream(queries, gallery, metric)
    found = Reranking(queries, gallery, metric)
    rows = np.concatenate([found.rows(0, 7), found.rows(7, 30)])
    np.testing.assert_allclose(rows, wanted, atol=1e-5)
    assert found.rows(3, 4).dtype == np.float32


def test_a_reranked_test_scores_the_same(root, tmp_path, monkeypatch):
    engine = make_engine(root, tmp_path)
    engine.evaluator = 'torchreid'
    engine.scored_test(rerank=True)
    (wanted,) = engine.scores.values()
    engine.evaluator = 'chunked'
    engine.scored_test(rerank=True)  # small: torchreid's own
    (small,) = engine.scores.values()
    assert small.mean_ap == wanted.mean_ap
    monkeypatch.setattr(distances, 'BLOCK_BYTES', 1000)
    with mock.patch.object(distances, 'Reranking', wraps=Reranking) as made:
        engine.scored_test(rerank=True)
    assert made.call_count == 1
    (cut,) = engine.scores.values()
    np.testing.assert_array_equal(cut.cmc, wanted.cmc)
    assert cut.mean_ap == pytest.approx(wanted.mean_ap, abs=1e-6)
