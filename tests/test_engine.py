"""Algorithm 1: label refreshes, one step, leaks, randomness."""

import collections
import copy
import itertools
import operator
import random
import re
import shutil
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchreid

import torchreid_daam
from torchreid_daam import ImageDAAMEngine, PseudoLabels, build_daam
from torchreid_daam.data import synthetic
from torchreid_daam.data.reading import read_image
from torchreid_daam.guards import StepGuard
from torchreid_daam.losses import DAAMLoss
from torchreid_daam.pseudo_labels import KMeansLabeller
from torchreid_daam.randomness import key_seed
from torchreid_daam.runs.folder import RunFolder

SEED = 3
CLUSTERS = 6


def make_datamanager(root, workers=0, batch_size=8):
    with synthetic.selected('tiny', 0):
        return torchreid.data.ImageDataManager(
            root=str(root),
            sources='synthetic_source',
            targets='synthetic_target',
            height=32,
            width=16,
            transforms=['random_flip', 'random_crop', 'random_erase'],
            use_gpu=False,
            load_train_targets=True,
            batch_size_train=batch_size,
            batch_size_test=50,
            workers=workers,
        )


def make_engine(root, save_dir, workers=0, kind=ImageDAAMEngine, **options):
    datamanager = make_datamanager(root, workers)
    model = build_daam(
        'resnet_tiny',
        datamanager.num_train_pids,
        CLUSTERS,
        pretrained=False,
        seed=SEED,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda e: 1.0)
    options = {
        'pretrain_epoch': 1,
        'rounds': 2,
        'round_epoch': 2,
        'labeller': KMeansLabeller(CLUSTERS),
        'terms': DAAMLoss(),
        'seed': SEED,
        **options,
    }
    return kind(
        datamanager,
        model,
        optimizer,
        scheduler,
        use_gpu=False,
        folder=RunFolder(save_dir, root),
        **options,
    )


def run(engine, save_dir, **options):
    engine.run(save_dir=str(save_dir), print_freq=1000, **options)
    return {k: v.clone() for k, v in engine.model.state_dict().items()}


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    make_datamanager(folder)  # draws
    return folder


@pytest.fixture(scope='module')
def reference(root, tmp_path_factory):
    """Weights and rows of one small run."""
    save_dir = tmp_path_factory.mktemp('reference')
    engine = make_engine(root, save_dir)
    return run(engine, save_dir), engine.folder.results.rows


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


class TestOneStep:
    """A whole step against one written by hand, on a copy."""

    @pytest.mark.parametrize('joint', [False, True])
    def test_parameters_after_a_step(self, root, tmp_path, joint):
        engine = make_engine(root, tmp_path, terms=DAAMLoss(weight_ds=0.5))
        images = len(engine.domains.target_items)
        weights = np.linspace(0.1, 1.0, images, dtype=np.float32)
        engine.domains.target.set_labels(np.arange(images) % CLUSTERS, weights)
        loader = (
            engine.domains.adaptation if joint else engine.domains.pretraining
        )
        loader.set_epoch('adapt', 1, 0)
        data = next(iter(loader))
        model = copy.deepcopy(engine.model).train()
        engine.epoch, engine.batch_idx, engine.num_batches = 1, 0, 1
        engine.model.train()
        summary = engine.forward_backward(data)

        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        x_s, y_s = data['source']['img'], data['source']['pid']
        n = len(x_s)
        if joint:
            x_t = data['target']['img']
            order = [
                i for pair in zip(range(n), range(n, 2 * n)) for i in pair
            ]
            x = torch.cat([x_s, x_t])[order]
            rows_s, rows_t = list(range(0, 2 * n, 2)), list(range(1, 2 * n, 2))
        else:
            x, rows_s, rows_t = x_s, list(range(n)), []
        f = model.backbone.featuremaps(x)
        a = model.attention(f)
        v = model.branch_dsh(a * f)
        u = model.branch_dsp((1 - a) * f)
        loss = F.cross_entropy(model.classifier_s(v[rows_s]), y_s)
        if joint:
            y_t = data['target']['pid']
            w = data['target']['weight']
            per_image = [
                w[i] * F.cross_entropy(model.classifier_t(v[[r]]), y_t[[i]])
                for i, r in enumerate(rows_t)
            ]
            loss = loss + sum(per_image) / n
            ds = -torch.sigmoid(model.nominal(v)).log().mean()
            domain = torch.tensor([0, 1] * n)
            dsp = F.cross_entropy(model.domain(u), domain)
            orth = F.cosine_similarity(v, u).mean()
            loss = loss + 0.5 * ds + dsp + orth
        loss.backward()
        optimizer.step()

        assert summary['loss'] == pytest.approx(loss.item(), rel=1e-5)
        names = {'loss', 'reid_s'}
        names |= {'reid_t', 'ds', 'dsp', 'orth'} if joint else set()
        assert set(summary) == names
        for name, value in engine.model.named_parameters():
            expected = model.get_parameter(name)
            torch.testing.assert_close(
                value, expected, rtol=1e-4, atol=1e-6, msg=name
            )


class TestSeats:
    def test_averager_sees_each_step_and_is_used_for_testing(
        self, root, tmp_path
    ):
        class Zero:
            """Averages to a zero embedding, which a test would notice."""

            updates = restarts = 0

            def restart(self, model):
                self.restarts += 1

            def targets(self, model, imgs):
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


class TestCheckpoint:
    def test_keys_and_safe_loading(self, root, tmp_path):
        engine = make_engine(root, tmp_path, rounds=1)
        run(engine, tmp_path)
        for name in ('last', 'selected'):
            path = tmp_path / 'checkpoints' / f'{name}.pth'
            assert zipfile.is_zipfile(path)
            state = torch.load(path, weights_only=True)
            assert set(state) >= {
                'state_dict',
                'epoch',
                'rank1',
                'optimizer',
                'scheduler',
                'model_name',
                'model_kwargs',
                'format',
            }
            assert state['model_name'] == 'resnet_tiny_daam'
            assert type(state['rank1']) is float

    def test_holds_the_statistics_of_its_evaluation(self, root, tmp_path):
        engine = make_engine(root, tmp_path, rounds=1)
        run(engine, tmp_path)
        final = engine.folder.results.find('final')
        other = make_engine(root, tmp_path / 'again')
        state = torch.load(
            tmp_path / 'checkpoints' / 'selected.pth', weights_only=True
        )
        other.model.load_state_dict(state['state_dict'])
        run(other, tmp_path / 'again', test_only=True)
        again = other.folder.results.find('final')
        assert again['mAP'] == final['mAP']

    def test_selected_is_never_of_the_middle_of_a_round(self, root, tmp_path):
        engine = make_engine(root, tmp_path)
        original = engine.forward_backward

        def kill(data):
            if engine.epoch == 2:
                raise Killed
            return original(data)

        engine.forward_backward = kill
        with pytest.raises(Killed):
            run(engine, tmp_path, eval_freq=1)
        epochs = {
            name: torch.load(
                tmp_path / 'checkpoints' / f'{name}.pth', weights_only=True
            )['epoch']
            for name in ('last', 'selected')
        }
        assert epochs == {'last': 2, 'selected': 1}

    def test_other_target_images_are_refused(self, root, tmp_path):
        engine = make_engine(root, tmp_path, rounds=1)
        run(engine, tmp_path)
        state = last(tmp_path)
        fewer = dict(state, target_names=state['target_names'][:-1])
        with pytest.raises(ValueError, match='target images'):
            make_engine(root, tmp_path).resume(fewer)
        names = state['target_names']
        names[3], names[4] = names[4], names[3]
        with pytest.raises(ValueError, match=re.escape(names[3])):
            make_engine(root, tmp_path).resume(state)


class Killed(BaseException):
    """Ends a run as nothing that is caught would."""


def killed_at(engine, name, call):
    """Makes the call number ``call`` of a method the run's last one."""
    counted = itertools.count(1)
    owner, _, attribute = name.rpartition('.')
    target = operator.attrgetter(owner)(engine) if owner else engine
    original = getattr(target, attribute)

    def method(*args, **kwargs):
        if next(counted) == call:
            raise Killed
        return original(*args, **kwargs)

    setattr(target, attribute, method)


def last(folder):
    path = folder / 'checkpoints' / 'last.pth'
    return torch.load(path, weights_only=True)


class Interrupting(StepGuard):
    """As if Ctrl-C came in a step."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def step(self, *args):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        super().step(*args)


class TestResume:
    """A run that ended anywhere goes on to the same bits."""

    def go_on(self, root, folder, **options):
        again = make_engine(root, folder, **options)
        start = 0
        if (folder / 'checkpoints' / 'last.pth').is_file():
            start = again.resume(last(folder))
        return run(again, folder, start_epoch=start), again

    @pytest.mark.parametrize(
        ('name', 'call'),
        [
            ('forward_backward', 3),  # pretraining
            ('scored_test', 1),  # direct transfer
            ('adapt_batch_norm', 1),  # before round 1
            ('scored_test', 2),  # AdaBN
            ('target_features', 1),
            ('labelling.labeller', 1),
            ('folder.write_labels', 1),
            ('_restart', 1),
            ('forward_backward', 14),  # in the middle of round 1
            ('folder.write_checkpoint', 3),
            ('adapt_batch_norm', 2),  # round 1 has ended
            ('scored_test', 3),
            ('folder.write_selected', 2),
            ('labelling.labeller', 2),
            ('forward_backward', 40),
            ('scored_test', 4),  # the last one
            ('folder.history.write_selected', 3),
        ],
    )
    def test_wherever_it_ended(self, root, tmp_path, reference, name, call):
        engine = make_engine(root, tmp_path)
        killed_at(engine, name, call)
        with pytest.raises(Killed):
            run(engine, tmp_path)
        weights, again = self.go_on(root, tmp_path)
        assert_same_bits(weights, reference[0])
        assert again.folder.results.rows == reference[1]

    @pytest.mark.parametrize(
        ('where', 'step'),
        [
            ('loading', 2),
            ('loading', 15),
            ('forward', 11),  # the last step of an epoch
            ('forward', 22),
            ('optimiser', 15),
        ],
    )
    def test_a_signal_saves_the_middle_of_an_epoch(
        self, root, tmp_path, reference, where, step
    ):
        engine = make_engine(root, tmp_path)
        counted = itertools.count(1)
        owner, name = {
            'loading': (engine.domains.source.loader.dataset, 'transform'),
            'forward': (engine, 'outputs'),
            'optimiser': (engine.step.guard, 'step'),
        }[where]
        call = step if where != 'loading' else 8 * step - 3
        original = getattr(owner, name)

        def method(*args):
            if next(counted) == call:
                signal.raise_signal(signal.SIGINT)
            return original(*args)

        setattr(owner, name, method)
        with pytest.raises(KeyboardInterrupt):
            run(engine, tmp_path)
        # The step under way is trained, one that was not begun is not.
        done = step - 1 if where == 'loading' else step
        state = last(tmp_path)
        assert 11 * state['epoch'] + state['batch'] == done
        weights, again = self.go_on(root, tmp_path)
        assert_same_bits(weights, reference[0])
        assert again.folder.results.rows == reference[1]

    def test_batches_are_counted_in_the_whole_epoch(
        self, root, tmp_path, capsys
    ):
        engine = make_engine(root, tmp_path, guard=Interrupting(4))
        with pytest.raises(KeyboardInterrupt):
            run(engine, tmp_path)
        again = make_engine(root, tmp_path)
        start = again.resume(last(tmp_path))
        capsys.readouterr()
        again.run(str(tmp_path), start_epoch=start, print_freq=1)
        lines = [x for x in capsys.readouterr().out.splitlines() if '][' in x]
        assert lines[0].startswith('epoch: [1/5][5/11]')
        assert lines[6].startswith('epoch: [1/5][11/11]')

    def test_steps_outside_a_run_save_nothing(self, root, tmp_path):
        engine = make_engine(root, tmp_path)
        engine.folder.history.minutes = 1e-9
        loader = engine.domains.pretraining
        loader.set_epoch('probe')
        engine.epoch = 0
        engine.forward_backward(next(iter(loader)))
        assert not list(tmp_path.iterdir())

    def test_evaluations_in_between(self, root, tmp_path, reference):
        engine = make_engine(root, tmp_path)
        killed_at(engine, 'forward_backward', 50)
        with pytest.raises(Killed):
            run(engine, tmp_path, eval_freq=1)
        assert last(tmp_path)['epoch'] == 4
        weights, again = self.go_on(root, tmp_path)
        assert_same_bits(weights, reference[0])
        assert again.folder.results.rows == reference[1]

    def test_a_complete_run_has_nothing_left(
        self, root, tmp_path, reference, monkeypatch
    ):
        run(make_engine(root, tmp_path), tmp_path)
        before = (tmp_path / 'checkpoints' / 'last.pth').stat().st_mtime_ns
        weights, again = self.go_on(root, tmp_path)
        assert again.folder.results.rows == reference[1]
        assert_same_bits(weights, reference[0])
        after = (tmp_path / 'checkpoints' / 'last.pth').stat().st_mtime_ns
        assert after == before

    def test_more_rounds_follow_a_complete_run(
        self, root, tmp_path, reference
    ):
        run(make_engine(root, tmp_path, rounds=1), tmp_path)
        weights, again = self.go_on(root, tmp_path)
        assert_same_bits(weights, reference[0])
        assert again.folder.results.rows == reference[1]

    def test_a_model_that_draws_in_a_step(self, root, tmp_path):
        def dropping(folder):
            engine = make_engine(root, folder, rounds=1)
            engine.model.branch_dsh.relu = torch.nn.Dropout()
            return engine

        whole = run(dropping(tmp_path / 'whole'), tmp_path / 'whole')
        engine = dropping(tmp_path / 'part')
        killed_at(engine, 'forward_backward', 25)
        with pytest.raises(Killed):
            run(engine, tmp_path / 'part')
        again = dropping(tmp_path / 'part')
        start = again.resume(last(tmp_path / 'part'))
        weights = run(again, tmp_path / 'part', start_epoch=start)
        assert_same_bits(weights, whole)

    def test_without_adapt_bn(self, root, tmp_path):
        whole = make_engine(root, tmp_path / 'whole', adapt_bn=False)
        expected = run(whole, tmp_path / 'whole')
        engine = make_engine(root, tmp_path / 'part', adapt_bn=False)
        killed_at(engine, 'labelling.labeller', 2)
        with pytest.raises(Killed):
            run(engine, tmp_path / 'part')
        weights, again = self.go_on(root, tmp_path / 'part', adapt_bn=False)
        assert_same_bits(weights, expected)
        assert again.folder.results.rows == whole.folder.results.rows


def test_keys_of_stages_differ():
    keys = {key_seed(1, 'adapt', r, e) for r in range(3) for e in range(3)}
    assert len(keys) == 9
