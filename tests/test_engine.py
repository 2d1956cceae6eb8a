"""engine.py: Algorithm 1: label refreshes, seats, randomness, leaks."""

import collections
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import torchreid_daam
from engines import (
    CLUSTERS,
    SEED,
    assert_same_bits,
    make_engine,
    run,
)
from torchreid_daam import ImageDAAMEngine, PseudoLabels
from torchreid_daam.data.reading import read_image
from torchreid_daam.pseudo_labels import KMeansLabeller
from torchreid_daam.randomness import key_seed


class Recorder(KMeansLabeller):
    """Notes when it is asked, and with what."""

    def __init__(self):
        super().__init__(CLUSTERS)
        self.calls = []
        self.engine = None

    def __call__(self, features, cameras, previous, generator):
        self.calls.append((self.engine.epoch, features.shape, previous))
        return super().__call__(features, cameras, previous, generator)


class Settled(KMeansLabeller):
    """Never changes its mind."""

    def __call__(self, features, cameras, previous, generator):
        if previous is not None:
            return previous
        return super().__call__(features, cameras, None, generator)


class TestAlgorithm1:
    def test_labels_are_refreshed_when_a_round_begins(self, root, tmp_path):
        labeller = Recorder()
        engine = make_engine(
            root,
            tmp_path,
            labeller=labeller,
            pretrain_epoch=1,
            rounds=3,
            round_epoch=2,
        )
        labeller.engine = engine
        run(engine, tmp_path)
        assert [epoch for epoch, _, _ in labeller.calls] == [1, 3, 5]
        images = len(engine.domains.target_items)
        assert {shape for _, shape, _ in labeller.calls} == {(images, 256)}
        previous = [before for _, _, before in labeller.calls]
        assert previous[0] is None
        assert all(isinstance(p, PseudoLabels) for p in previous[1:])

    def test_rows_of_a_run(self, reference):
        _, rows = reference
        assert [(r['stage'], r['round'], r['epoch']) for r in rows] == [
            ('direct', 0, 1),
            ('adabn', 0, 1),
            ('round', 1, 3),
            ('round', 2, 5),
            ('final', 2, 5),
        ]
        same = ('mAP', 'rank1', 'rank5', 'rank10', 'rank20')
        assert [rows[3][k] for k in same] == [rows[4][k] for k in same]
        assert rows[0]['mAP'] != rows[1]['mAP']

    def test_without_adapt_bn_there_is_no_adabn_row(self, root, tmp_path):
        engine = make_engine(root, tmp_path, adapt_bn=False, rounds=1)
        run(engine, tmp_path)
        stages = [r['stage'] for r in engine.folder.results.rows]
        assert stages == ['direct', 'round', 'final']

    def test_optimiser_state_and_head_restart_with_a_round(
        self, root, tmp_path
    ):
        seen = []

        class Watching(ImageDAAMEngine):
            def _restart(self, features):
                head = self.model.classifier_t.weight
                before = head.detach().clone()
                parameter = id(head)
                super()._restart(features)
                seen.append(
                    (
                        len(self.optimizer.state),
                        parameter == id(self.model.classifier_t.weight),
                        torch.equal(before, head.detach()),
                    )
                )

        engine = make_engine(root, tmp_path, kind=Watching)
        run(engine, tmp_path)
        assert seen == [(0, True, False)] * 2

    def test_k_may_change_from_round_to_round(self, root, tmp_path):
        class Growing(KMeansLabeller):
            def __call__(self, *args):
                self.num_clusters += 1
                return super().__call__(*args)

        engine = make_engine(root, tmp_path, labeller=Growing(CLUSTERS))
        run(engine, tmp_path)
        assert engine.model.classifier_t.weight.shape[0] == CLUSTERS + 2

    def test_agreement_ends_the_rounds(self, root, tmp_path):
        engine = make_engine(
            root,
            tmp_path,
            labeller=Settled(CLUSTERS),
            rounds=5,
            round_epoch=1,
            stop_agreement=0.9,
        )
        run(engine, tmp_path)
        rows = engine.folder.results.rows
        assert [(r['stage'], r['round']) for r in rows][2:] == [
            ('round', 1),
            ('final', 1),
        ]
        assert (tmp_path / 'checkpoints' / 'selected.pth').is_file()

    def test_resuming_settled_rounds_ends_them_again(self, root, tmp_path):
        options = {
            'labeller': Settled(CLUSTERS),
            'rounds': 3,
            'round_epoch': 1,
            'stop_agreement': 0.9,
        }
        engine = make_engine(root, tmp_path, **options)
        run(engine, tmp_path)
        state = torch.load(
            tmp_path / 'checkpoints' / 'last.pth', weights_only=True
        )
        again = make_engine(root, tmp_path, **options)
        run(again, tmp_path, start_epoch=again.resume(state))
        assert again.folder.results.rows == engine.folder.results.rows

    def test_images_left_out_are_not_trained_on(self, root, tmp_path):
        class Half(KMeansLabeller):
            def __call__(self, *args):
                labels = super().__call__(*args)
                labels.labels[::2] = -1
                return labels

        seen = set()
        engine = make_engine(root, tmp_path, labeller=Half(CLUSTERS))
        original = engine.forward_backward

        def spy(data):
            if 'target' in data:
                seen.update(data['target']['index'].tolist())
                assert (data['target']['pid'] >= 0).all()
            return original(data)

        engine.forward_backward = spy
        run(engine, tmp_path)
        assert seen
        assert all(index % 2 == 1 for index in seen)

    def test_no_rounds_leave_the_source_model(self, root, tmp_path):
        engine = make_engine(root, tmp_path, rounds=0, pretrain_epoch=1)
        run(engine, tmp_path)
        rows = {r['stage']: r for r in engine.folder.results.rows}
        assert list(rows) == ['direct', 'adabn', 'final']
        assert rows['final']['mAP'] == rows['direct']['mAP']
        assert rows['final']['mAP'] != rows['adabn']['mAP']
        model = torchreid_daam.load_model(tmp_path)
        assert_same_bits(model.state_dict(), engine.model.state_dict())


class TestSeats:
    def test_averager_sees_each_step_and_is_used_for_testing(
        self, root, tmp_path
    ):
        class Zero:
            """Averages to a zero embedding, which a test would notice."""

            updates = restarts = 0

            def restart(self, model):
                self.restarts += 1

            def targets(self, model, imgs, batch, forward):
                return {}

            def state_dict(self):
                return {}

            def update(self, model):
                self.updates += 1

            def applied(self, model):
                bn = model.branch_dsh.bn

                class Context:
                    def __enter__(self):
                        self.kept = bn.weight.detach().clone()
                        bn.weight.data.zero_()

                    def __exit__(self, *_):
                        bn.weight.data.copy_(self.kept)

                return Context()

        averager = Zero()
        engine = make_engine(root, tmp_path, averager=averager, rounds=1)
        run(engine, tmp_path)
        steps = len(engine.domains.pretraining) + 2 * len(
            engine.domains.adaptation
        )
        assert averager.updates == steps
        assert averager.restarts == 1
        assert engine.model.branch_dsh.bn.weight.abs().sum() > 0
        chosen = torchreid_daam.load_model(tmp_path)
        assert chosen.branch_dsh.bn.weight.abs().sum() == 0

    def test_sampler_decides_the_order_of_the_target(self, root, tmp_path):
        def first_only(labels, cameras, generator):
            assert len(labels) == len(cameras)
            return np.array([0])

        seen = set()
        engine = make_engine(root, tmp_path, sampler=first_only)
        original = engine.forward_backward

        def spy(data):
            if 'target' in data:
                seen.update(data['target']['index'].tolist())
            return original(data)

        engine.forward_backward = spy
        run(engine, tmp_path)
        assert seen == {0}


class TestRandomness:
    def test_same_bits_again(self, root, tmp_path, reference):
        torch.manual_seed(99)
        random.seed(99)
        np.random.seed(99)
        weights = run(make_engine(root, tmp_path), tmp_path)
        assert_same_bits(weights, reference[0])

    def test_another_seed_gives_other_bits(self, root, tmp_path, reference):
        engine = make_engine(root, tmp_path, seed=SEED + 1)
        weights = run(engine, tmp_path)
        name = 'branch_dsh.fc.weight'
        assert not torch.equal(weights[name], reference[0][name])

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ('workers', 'persistent'), [(1, False), (2, False), (2, True)]
    )
    def test_workers_change_nothing(
        self, root, tmp_path, reference, workers, persistent
    ):
        engine = make_engine(
            root, tmp_path, workers, persistent_workers=persistent
        )
        weights = run(engine, tmp_path)
        assert_same_bits(weights, reference[0])
        assert engine.folder.results.rows == reference[1]

    @pytest.mark.parametrize('workers', (0, 2))
    def test_a_cache_changes_nothing(
        self, root, tmp_path, reference, workers, monkeypatch
    ):
        opened = collections.Counter()

        def read(path):
            opened[path] += 1
            return read_image(path)

        monkeypatch.setattr('torchreid_daam.data.cache.read_image', read)
        engine = make_engine(root, tmp_path, workers, cache='ram')
        assert_same_bits(run(engine, tmp_path), reference[0])
        assert engine.folder.results.rows == reference[1]
        if not workers:  # else others did it
            assert set(opened.values()) == {1}

    def test_evaluations_in_between_change_nothing(
        self, root, tmp_path, reference
    ):
        engine = make_engine(root, tmp_path)
        weights = run(engine, tmp_path, eval_freq=1)
        assert_same_bits(weights, reference[0])
        assert engine.folder.results.rows == reference[1]

    def test_a_loaded_pretraining_changes_nothing(
        self, root, tmp_path, reference
    ):
        source = make_engine(root, tmp_path / 'source', rounds=0)
        weights = run(source, tmp_path / 'source')
        engine = make_engine(root, tmp_path / 'run', pretrain_epoch=0)
        engine.model.load_state_dict(weights)
        weights = run(engine, tmp_path / 'run')
        assert_same_bits(weights, reference[0])
        scores = [row['mAP'] for row in reference[1]]
        assert [r['mAP'] for r in engine.folder.results.rows] == scores

    def test_target_order_is_that_of_the_bytes(self, root, tmp_path):
        engine = make_engine(root, tmp_path)
        paths = engine.domains.target_paths
        assert paths != sorted(paths)
        assert all(item.pid == -1 for item in engine.domains.target_items)


def scramble(root: Path, copy_to: Path) -> None:
    """Renames all target images: other identities, same cameras."""
    shutil.copytree(root, copy_to)
    rng = random.Random(0)
    target = next(copy_to.glob('synthetic/*/target'))
    number = 0
    for split in ('bounding_box_train', 'query', 'bounding_box_test'):
        files = sorted((target / split).glob('*.jpg'))
        names = [file.name.split('_') for file in files]
        pids = [name[0] for name in names]
        rng.shuffle(pids)
        order = list(range(len(files)))
        rng.shuffle(order)
        for file in files:
            file.rename(file.with_suffix('.tmp'))
        for i in order:
            number += 1
            camera = names[i][1]
            name = f'{pids[i]}_{camera}_{number:06d}_00.jpg'
            files[i].with_suffix('.tmp').rename(target / split / name)


class Leaking(ImageDAAMEngine):
    """Uses what it must not: the order of the target's file names."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        items = self.domains.target_items
        names = sorted(Path(item.path).name for item in items)
        rank = {name: i for i, name in enumerate(names)}
        self.hint = np.array(
            [rank[Path(item.path).name] % CLUSTERS for item in items]
        )

    def _begin_round(self, round_):
        super()._begin_round(round_)
        self.domains.target.set_labels(
            self.hint, np.ones(len(self.hint), np.float32)
        )


@pytest.fixture(scope='module')
def scrambled(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp('scrambled') / 'data'
    scramble(root, folder)
    return folder


class TestLeak:
    def test_target_identities_change_nothing(
        self, scrambled, tmp_path, reference
    ):
        weights = run(make_engine(scrambled, tmp_path), tmp_path)
        assert_same_bits(weights, reference[0])

    def test_the_test_catches_a_leak(self, root, scrambled, tmp_path):
        plain, other = (
            run(make_engine(data, tmp_path, kind=Leaking), tmp_path)
            for data in (root, scrambled)
        )
        name = 'branch_dsh.fc.weight'
        assert not torch.equal(plain[name], other[name])


def test_keys_of_stages_differ():
    keys = {key_seed(1, 'adapt', r, e) for r in range(3) for e in range(3)}
    assert len(keys) == 9
