"""The page on a run: whole runs, half runs and strange ones."""

import json
import os
import re
import shlex
import shutil
from html.parser import HTMLParser
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from layouts import picture
from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.cli import main, report_main
from torchreid_daam.delivery import figures
from torchreid_daam.delivery.figures.style import new_figure
from torchreid_daam.delivery.records import read_terms
from torchreid_daam.delivery.report import (
    Cell,
    Picture,
    Scatter,
    Section,
    Table,
    render,
    section,
    write,
)
from torchreid_daam.errors import InputError
from torchreid_daam.report_facts import environment
from torchreid_daam.report_material import ALONE, THUMB, Pictures, shrunk
from torchreid_daam.report_ranks import allowed_order, average_precision
from torchreid_daam.report_run import ReportWish, report_run

PARTS = 12
EVIL = '<img src=x onerror=alert(1)>&amp;\'"$_{.jpg'


class Page(HTMLParser):
    """What a test asks of a page."""

    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.labels = text, [], []
        self.feed(text)
        self.missing = re.findall(r'Missing: ([^<]*)', text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith('on'), name
            if name in ('src', 'href', 'xlink:href'):
                assert value.startswith(('data:', '#')), value
        if dict(attrs).get('role') == 'img':
            self.labels.append(dict(attrs).get('aria-label'))

    def part(self, title):
        """The text of one section."""
        (found,) = re.findall(
            f'<h2>{title}</h2>(.*?)</section>', self.text, re.DOTALL
        )
        return found


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Settings of a finished tiny run that wrote its own report."""
    cfg = tiny_config(tmp_path_factory.mktemp('report'))
    cfg.report = True
    adapt(cfg)
    return cfg


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run, to be spoilt."""
    copy = tmp_path / 'run'
    shutil.copytree(finished.save_dir, copy)
    return copy


@pytest.fixture
def own_data(finished, tmp_path):
    """A copy of its images, to be spoilt."""
    copy = tmp_path / 'data'
    shutil.copytree(finished.data.root, copy)
    return copy


def page(finished, run, **options):
    options = {'root': finished.data.root, **options}
    # Writing PNG and PDF takes longer than all else, and has its own test.
    with mock.patch('torchreid_daam.delivery.report.save'):
        path = report_run(ReportWish(runs=[run], **options))
    return Page(path.read_text(encoding='utf-8'))


def test_a_run_writes_a_whole_report(finished):
    folder = finished.save_dir
    text = (folder / 'report.html').read_text(encoding='utf-8')
    found = Page(text)
    assert found.missing == [] and 'No panel' not in text
    assert len(text) < 10e6 and text.count('<section') == PARTS
    assert found.labels and all(found.labels)
    for scheme in ('prefers-color-scheme: dark', 'width=device-width'):
        assert scheme in text
    for row in json.loads((folder / 'results.json').read_text())['rows']:
        assert f'<td>{row["mAP"]:.1f}</td>' in text
    names = {path.name for path in (folder / 'report').iterdir()}
    for name in (
        'scores losses attention tsne-domain tsne-group weights ranks-good '
        'ranks-bad clusters-largest clusters-tightest clusters-worst'
    ).split():
        assert {f'{name}.png', f'{name}.pdf'} <= names


def test_tensorboard_gets_the_same_figures(finished):
    folder = finished.save_dir
    events = EventAccumulator(str(folder), {'images': 0}).Reload()
    tags = events.Tags()['images']
    drawn = {path.stem for path in (folder / 'report').glob('*.png')}
    assert {tag.partition('/')[2] for tag in tags} == drawn
    assert 'Attention/attention' in tags
    for tag in tags:
        (image,) = events.Images(tag)
        assert min(image.width, image.height) > 100
    # A later report reads the losses past them.
    assert 'reid_t' in read_terms(folder)


def test_batches_of_a_run_are_counted_once(finished):
    terms = read_terms(finished.save_dir)
    batches = [batch for batch, _ in terms['reid_s']]
    assert batches == list(range(1, len(batches) + 1))
    later = [batch for batch, _ in terms['reid_t']]
    assert later == batches[-len(later) :] and len(later) < len(batches)


def test_health_is_told_in_words(finished, run):
    figures = {'round': 1, 'num_clusters': 4, 'empty_clusters': 2}
    figures['oracle'] = {'purity': 0.75}
    figures['weight_quartiles'] = [0.1, 0.2, 0.3]
    (run / 'rounds.jsonl').write_text(json.dumps(figures))
    health = page(finished, run, root=str(run / 'no')).part('Health of .*?')
    assert 'Not good: 2 of 4 groups are empty' in health
    assert 'purity *<small>' in health and '<td>0.75</td>' in health
    assert '* is from the identities of the target' in health
    assert '<td>0.1–0.3</td>' in health


def code(found, title):
    """Commands of a section, as words."""
    (text,) = re.findall('<pre.*?>(.*?)</pre>', found.part(title), re.DOTALL)
    lines = text.replace('\\\n', ' ').splitlines()
    return [shlex.split(line) for line in lines if not line.startswith('#')]


@pytest.mark.slow
def test_its_commands_repeat_the_run(finished, run):
    *_, again, report = code(page(finished, run), 'Commands')
    assert again[:3] == report[:3] == ['python', '-m', 'torchreid_daam']
    assert main(again[3:]) == 0
    rows = [
        json.loads((folder / 'results.json').read_text())['rows']
        for folder in (run, run.parent / 'run-again')
    ]
    assert rows[0] == rows[1]
    (run / 'report.html').unlink()
    with mock.patch('torchreid_daam.delivery.report.save'):
        assert main(report[3:]) == 0
    assert (run / 'report.html').is_file()


def test_a_calibrated_run_shows_its_threshold(finished, run):
    before = page(finished, run).part('Threshold')
    assert 'Not calibrated' in before and 'role="img"' not in before
    command = code(page(finished, run), 'Threshold')[0]
    assert main([*command[3:], '--far', '0.1']) == 0
    path = run / 'checkpoints' / 'calibration.json'
    content = json.loads(path.read_text())
    after = page(finished, run)
    assert f'distance of {content["threshold"]:.4f}' in after.part('Threshold')
    assert 'role="img"' in after.part('Threshold') and not after.missing
    assert content['warnings']  # of few people
    for line in content['warnings']:
        assert f'Weak: {line}.' in after.part('Threshold')
    del content['warnings']  # as earlier versions wrote it
    path.write_text(json.dumps(content))
    assert 'Weak' not in page(finished, run).part('Threshold')
    for broken in ({**content, 'basis': 'x'}, {**content, 'interval': 1}):
        path.write_text(json.dumps(broken))
        (reason,) = page(finished, run).missing
        assert reason.startswith('checkpoints/calibration.json: not as')
    path.write_text(json.dumps(content))
    # A longer training puts other weights into the same file.
    (run / 'checkpoints' / 'selected.pth').write_bytes(b'other weights')
    missing = page(finished, run).missing
    assert any('not of the weights in selected.pth' in m for m in missing)


def test_a_run_without_checkpoints(finished, run):
    shutil.rmtree(run / 'checkpoints')
    found = page(finished, run)
    assert len(found.missing) == 4 and found.text.count('<section') == PARTS
    assert 'no model to calibrate' in found.part('Threshold')
    assert any('no such file' in reason for reason in found.missing)


def test_a_name_that_is_not_utf_8(finished, run, tmp_path):
    """The page is UTF-8 all the same, which ``page`` reads it as."""
    odd = tmp_path / os.fsdecode(b'x\xff')
    run.rename(odd)
    assert 'x\\udcff' in page(finished, odd).text


def test_half_a_run(finished, run):
    shutil.rmtree(run / 'pseudo_labels')
    for name in ('results.json', 'rounds.jsonl', 'run.json', 'report.html'):
        (run / name).unlink()
    for path in run.glob('events.out*'):
        path.unlink()
    missing = ' '.join(page(finished, run).missing)
    for what in ('results.json', 'rounds.jsonl', 'run.json', 'events.out'):
        assert what in missing


def test_only_the_model_before(finished, run, tmp_path):
    (run / 'checkpoints' / 'step-000001-000000.pth').unlink()
    found = page(finished, run)
    assert 'No panel &#34;before&#34;: checkpoints/step-000001-' in found.text
    assert found.missing == [] and 't-SNE, after' in found.text
    kept = finished.save_dir / 'checkpoints' / 'step-000001-000000.pth'
    again = page(finished, run, before=str(kept))
    assert 'No panel' not in again.text and 't-SNE, before' in again.text


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('results.json', '{"rows": [{"stage": 1}, 7], "format": 99}'),
        ('results.json', '[]'),
        ('results.json', '\x00'),
        ('rounds.jsonl', '{"round": 1}\n{"rou'),
        ('rounds.jsonl', '{"round": 1, "new": {"a": [1]}}'),
        ('rounds.jsonl', '{"round": 1, "silhouette": "x", "oracle": 1}'),
        ('config.yaml', 'format: 99\nnovelty: {a: 1}\n'),
        ('config.yaml', '[['),
    ],
)
def test_files_of_another_version(finished, run, name, text):
    (run / name).write_text(text)
    # Without data and model this is quick.
    shutil.rmtree(run / 'checkpoints')
    found = page(finished, run, root=str(run / 'no'))
    assert found.text.count('<section') == PARTS
    if name == 'rounds.jsonl':
        assert '<th scope="col">round 1</th>' in found.part('Health of .*?')


def test_a_model_of_another_version(finished, run):
    (run / 'checkpoints' / 'selected.pth').write_bytes(b'\x00' * 100)
    found = page(finished, run)
    assert len(found.missing) == 2 and 't-SNE, before' in found.text
    assert all('selected.pth' in reason for reason in found.missing)


def test_data_that_is_gone(finished, run, tmp_path):
    found = page(finished, run, root=str(tmp_path / 'nowhere'))
    assert sum('--root says where' in m for m in found.missing) == 4
    assert not (tmp_path / 'nowhere').exists()


def test_images_that_are_gone(finished, run, own_data):
    labelled = list(np.load(run / 'pseudo_labels' / 'round-1.npz')['path'])
    for name in labelled[::2]:
        (own_data / name).write_bytes(b'')
    some = page(finished, run, root=str(own_data))
    assert some.missing == [] and 'gone' in some.part('Clusters')
    gone, shown = map(
        int,
        re.search(r'(\d+) of (\d+) images can not', some.text).groups(),
    )
    assert 0 < gone < shown
    for name in labelled:
        (own_data / name).write_bytes(b'')
    none = page(finished, run, root=str(own_data))
    # The attention and the clusters; a domain is left.
    attention, clusters = none.missing
    assert f'none of {len(labelled)} images can be read' in attention
    assert '--root says where they are' in clusters
    assert 'role="img"' not in none.part('Clusters')
    assert 't-SNE, after' in none.text


def test_a_target_without_labels_and_names_with_markup(tmp_path):
    cfg = tiny_config(tmp_path)
    for number in range(16):
        for folder, name in (('crops', EVIL), ('people', '.jpg')):
            sub = f'<b>{number % 2}' if folder == 'crops' else f'p{number % 4}'
            path = tmp_path / folder / sub / f'{number}{name}'
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(number % 4, 1 + number % 2, number).save(path, 'JPEG')
    cfg.data.target_folder = [str(tmp_path / 'crops')]
    cfg.data.source_folder = str(tmp_path / 'people')
    cfg.pseudo_labels.num_clusters = 3
    adapt(cfg)
    found = page(cfg, cfg.save_dir)
    scores, ranks = found.missing
    assert 'Where the target has no labels' in scores
    assert 'target_folder: no query has a match' in ranks
    # HTMLParser would have met the tags and their attributes.
    assert 'img' not in found.tags and 'b' not in found.tags
    assert found.text.count('&lt;img src=x onerror=alert(1)&gt;') >= 16


def test_one_domain_only(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.loss.name, cfg.train.max_epoch = 'softmax', 1
    adapt(cfg)
    found = page(cfg, cfg.save_dir)
    assert 'One domain only: the run has no unlabelled target' in found.text
    assert 't-SNE, after' in found.text
    assert 'the run has no unlabelled target' in found.missing
    copy = shutil.copytree(cfg.save_dir, tmp_path / 'other' / 'log')
    wish = ReportWish(
        compare=[cfg.save_dir, copy], output=str(tmp_path / 'both')
    )
    with mock.patch('torchreid_daam.delivery.report.save'):
        both = Page(report_run(wish).read_text(encoding='utf-8'))
    assert 'No panel &#34;before&#34;' in both.part('Both domains')
    assert 't-SNE, log' not in both.text and 't-SNE, /' in both.text


def test_markup_is_text():
    evil = '<script>alert(1)</script>"\'&'
    part = Section(
        evil,
        [evil],
        [Table([(evil,), (Cell(evil, evil), evil)])],
        scatters=[Scatter(evil, [(0, 0, 0, 0, evil)], [evil], [evil])],
        code=evil,
    )
    text = render(evil, [part, Section('x', missing=evil)])
    assert 'alert(1)</script>' not in text
    assert text.count('&lt;script&gt;alert(1)') == 16


def test_whatever_fails_is_told():
    def broken(part):
        raise KeyError('x')

    assert section('a', broken).missing == "'x'"


def test_an_image_from_the_command_line(finished, run, tmp_path, capsys):
    image = next((run.parent / finished.data.root).rglob('*.jpg'))
    evil = tmp_path / '<b>$x.jpg'
    shutil.copy(image, evil)
    out = tmp_path / 'out'
    command = [str(run), '--image', str(evil), '--output', str(out)]
    assert report_main(command) == 0
    text = (out / 'report.html').read_text(encoding='utf-8')
    assert '&lt;b&gt;$x.jpg' in text and '<b>' not in text
    assert (out / 'report' / 'image.png').is_file()
    evil.write_bytes(b'no image')
    assert report_main(command) == 2
    said = capsys.readouterr().err
    assert 'error: --image=' in said and 'not a readable image' in said


def test_the_one_image_keeps_its_pixels():
    small = Image.new('RGB', (30, 50))
    assert shrunk(small).shape == (50, 30, 3)
    large = Image.new('RGB', (4000, 1000))
    assert shrunk(large).shape == (ALONE // 4, ALONE, 3)


def test_figures_of_an_earlier_page_do_not_stay(tmp_path):
    def drawn(*names):
        pictures = [Picture(n, new_figure()[0], f'a {n}') for n in names]
        write(tmp_path, 'x', [Section('a', pictures=pictures)])
        return {path.name for path in (tmp_path / 'report').iterdir()}

    (tmp_path / 'report').mkdir()
    (tmp_path / 'report' / 'own.png').touch()
    both = {'own.png', 'figures.json', 'a.png', 'a.pdf'}
    assert drawn('a', 'b') == both | {'b.png', 'b.pdf'}
    assert drawn('a') == both
    listing = tmp_path / 'report' / 'figures.json'
    assert json.loads(listing.read_text()) == {'a': 'a a'}
    listing.write_text('["../report", "a", 7]')
    assert drawn() == {'own.png', 'figures.json'}
    assert (tmp_path / 'report.html').is_file()


def test_a_folder_that_can_not_be_written_is_found_first(run, tmp_path):
    blocked = tmp_path / 'file'
    blocked.touch()
    for options in ({'runs': [run]}, {'compare': [run, tmp_path / 'run2']}):
        shutil.copytree(run, tmp_path / 'run2', dirs_exist_ok=True)
        with (
            mock.patch('torchreid_daam.report_run.section') as section,
            pytest.raises(InputError, match=f'^--output={blocked}'),
        ):
            report_run(ReportWish(output=str(blocked), **options))
        section.assert_not_called()


def test_a_run_is_compared_once(run):
    with pytest.raises(InputError, match='given twice'):
        report_run(ReportWish(compare=[run, f'{run}/../run']))


def test_figures_in_a_notebook(finished, repo, tmp_path, monkeypatch):
    """The example of docs/report.md."""
    text = (repo / 'docs' / 'report.md').read_text(encoding='utf-8')
    (example,) = re.findall('```python\n(.*?)```', text, re.DOTALL)
    (tmp_path / 'log').mkdir()
    shutil.copytree(finished.save_dir, tmp_path / 'log' / 'mine')
    picture(1, 1, 1).save(tmp_path / 'person.jpg')
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(example, found)
    total = found['weights']['DSH'] + found['weights']['DSP']
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert (tmp_path / 'overlay.png').is_file()
    # It tells of all that there are.
    assert all(f'`{name}`' in text or name in example for name in drawing())


def drawing():
    """What the module of figures offers, less what a figure is made with."""
    return {*figures.__all__} - {'Tile', 'blended', 'svg'}


def test_runs_side_by_side(finished, run, tmp_path):
    cfg = finished.clone()
    cfg.loss.name, cfg.train.max_epoch, cfg.report = 'softmax', 1, False
    cfg.data.sources = ['synthetic_target']
    cfg.data.save_dir = str(tmp_path / 'labelled')
    adapt(cfg)
    (run / 'results.json').unlink()
    wish = ReportWish(
        compare=[cfg.data.save_dir, finished.save_dir, run],
        output=str(tmp_path / 'both'),
        root=finished.data.root,
    )
    with mock.patch('torchreid_daam.delivery.report.save'):
        found = Page(report_run(wish).read_text(encoding='utf-8'))
    titles = re.findall(r'<figcaption>t-SNE, (.*?)</figcaption>', found.text)
    assert titles == ['before', 'labelled (supervised)', 'log', 'run']
    notes = [found.part(f'{name}: attention') for name in ('log', 'run')]
    assert all('4 images drawn at random. Warmer' in note for note in notes)
    scores = found.part('Scores')
    assert '>log</th>' in scores and '<p>run: results.json: not' in scores
    assert '>loss.name</th>' in found.part('Settings that differ')
    assert found.text.count('<section') == 6
    assert found.missing == ['the run has no unlabelled target']


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({}, 'one RUN, or --compare'),
        ({'runs': ['a'], 'compare': ['b']}, 'one RUN, or --compare'),
        ({'compare': ['b']}, '--compare takes two'),
        ({'compare': ['b', 'c'], 'image': 'x'}, '--compare takes two'),
        ({'runs': ['nowhere']}, 'no such folder'),
        ({'runs': ['.']}, 'no run'),
    ],
)
def test_wrong_arguments(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        report_run(ReportWish(**options))


@pytest.mark.parametrize('size', [(256, 128), (384, 128), (64, 1024)])
def test_images_of_the_page_are_small(tmp_path, size):
    cfg = tiny_config(tmp_path)
    cfg.data.height, cfg.data.width = size
    path = tmp_path / 'x.png'
    Image.new('RGB', (2000, 2000)).save(path)
    height, width, _ = Pictures(cfg).thumb(str(path)).shape
    assert 0.9 * THUMB < height * width < 1.1 * THUMB
    assert abs(np.log(height / width) - np.log(size[0] / size[1])) < 0.05


def test_a_list_leaves_out_the_own_camera():
    gallery = [('a', 1, 0), ('b', 1, 1), ('c', 2, 0), ('d', 2, 1)]
    distances = np.array([0.0, 3.0, 2.0, 1.0])
    assert allowed_order(('q', 1, 0), gallery, distances) == [3, 2, 1]


def test_average_precision_by_hand():
    # Right at ranks 1 and 4: (1/1 + 2/4) / 2.
    right = np.array([True, False, False, True])
    assert average_precision(right) == 0.75


@pytest.mark.parametrize(('parts', 'told'), [([{}, {}], '2'), ('x', 'x')])
def test_parts_of_a_run_are_counted(tmp_path, parts, told):
    text = json.dumps({'seconds': 3.5, 'parts': parts})
    (tmp_path / 'run.json').write_text(text)
    part = Section('Environment')
    environment(part, tmp_path)
    rows = [(row[0], str(row[1])) for row in part.tables[0].rows]
    assert rows == [('fact', 'value'), ('seconds', '3.5'), ('parts', told)]
