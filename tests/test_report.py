"""The page on a run: whole runs, half runs and strange ones."""

import json
import re
import shutil
from html.parser import HTMLParser
from unittest import mock

import numpy as np
import pytest

from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.cli import report_main
from torchreid_daam.delivery.records import read_terms
from torchreid_daam.delivery.report import Section, Table, render, section
from torchreid_daam.errors import InputError
from torchreid_daam.report_parts import allowed_order, average_precision
from torchreid_daam.report_run import ReportWish, report_run

PARTS = 10


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
            if name in ('src', 'href', 'xlink:href'):
                assert value.startswith(('data:', '#')), value
        if dict(attrs).get('role') == 'img':
            self.labels.append(dict(attrs).get('aria-label'))


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
    for name in ('scores losses attention tsne-domain weights').split():
        assert {f'{name}.png', f'{name}.pdf'} <= names


def test_batches_of_a_run_are_counted_once(finished):
    terms = read_terms(finished.save_dir)
    batches = [batch for batch, _ in terms['reid_s']]
    assert batches == list(range(1, len(batches) + 1))
    later = [batch for batch, _ in terms['reid_t']]
    assert later == batches[-len(later) :] and len(later) < len(batches)


def test_a_run_without_checkpoints(finished, run):
    shutil.rmtree(run / 'checkpoints')
    found = page(finished, run)
    assert len(found.missing) == 3 and found.text.count('<section') == PARTS
    assert any('no such file' in reason for reason in found.missing)


def test_half_a_run(finished, run):
    shutil.rmtree(run / 'pseudo_labels')
    for name in ('results.json', 'rounds.jsonl', 'run.json', 'report.html'):
        (run / name).unlink()
    for path in run.glob('events.out*'):
        path.unlink()
    missing = ' '.join(page(finished, run).missing)
    for what in ('results.json', 'rounds.jsonl', 'run.json', 'events.out'):
        assert what in missing


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('results.json', '{"rows": [{"stage": 1}, 7], "format": 99}'),
        ('results.json', '[]'),
        ('results.json', '\x00'),
        ('rounds.jsonl', '{"round": 1}\n{"rou'),
        ('rounds.jsonl', '{"round": 1, "new": {"a": [1]}}'),
        ('config.yaml', 'format: 99\nnovelty: {a: 1}\n'),
        ('config.yaml', '[['),
    ],
)
def test_files_of_another_version(finished, run, name, text):
    (run / name).write_text(text)
    # Without data and model this is quick.
    shutil.rmtree(run / 'checkpoints')
    assert (
        page(finished, run, root=str(run / 'no')).text.count('<section')
        == PARTS
    )


def test_data_that_is_gone(finished, run, tmp_path):
    found = page(finished, run, root=str(tmp_path / 'nowhere'))
    assert sum('--root says where' in m for m in found.missing) == 3
    assert not (tmp_path / 'nowhere').exists()


def test_markup_is_text():
    evil = '<script>alert(1)</script>"\'&'
    part = Section(evil, [evil], [Table([(evil, evil)])], code=evil)
    text = render(evil, [part, Section('x', missing=evil)])
    assert 'alert(1)</script>' not in text
    assert text.count('&lt;script&gt;alert(1)') == 9


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
    assert 'error: --image=' in capsys.readouterr().err


def test_runs_side_by_side(finished, run, tmp_path):
    (run / 'rounds.jsonl').unlink()
    out = tmp_path / 'both'
    wish = ReportWish(
        compare=[finished.save_dir, run],
        output=str(out),
        root=finished.data.root,
    )
    with mock.patch('torchreid_daam.delivery.report.save'):
        found = Page(report_run(wish).read_text(encoding='utf-8'))
    assert found.missing == []
    assert '<th>log</th>' in found.text and '<th>run</th>' in found.text
    assert found.text.count('<section') == 6


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({}, 'one RUN, or --compare'),
        ({'runs': ['a'], 'compare': ['b']}, 'one RUN, or --compare'),
        ({'runs': ['nowhere']}, 'no such folder'),
        ({'runs': ['.']}, 'no run'),
    ],
)
def test_wrong_arguments(options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        report_run(ReportWish(**options))


def test_a_list_leaves_out_the_own_camera():
    gallery = [('a', 1, 0), ('b', 1, 1), ('c', 2, 0), ('d', 2, 1)]
    distances = np.array([0.0, 3.0, 2.0, 1.0])
    assert allowed_order(('q', 1, 0), gallery, distances) == [3, 2, 1]


def test_average_precision_by_hand():
    # Right at ranks 1 and 4: (1/1 + 2/4) / 2.
    right = np.array([True, False, False, True])
    assert average_precision(right) == 0.75
