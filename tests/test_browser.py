"""The report as a browser shows it; `make test-browser` installs one."""

import shutil
from unittest import mock

import pytest

from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.report_run import ReportWish, report_run

browser = pytest.importorskip(
    'browser', reason='selenium: not installed; make test-browser does it'
)
if None in browser.programs():
    pytest.skip(
        'chromium and chromedriver: not installed; make test-browser does it',
        allow_module_level=True,
    )
pytestmark = pytest.mark.slow
PAGES = ('whole', 'half', 'both', 'image')
# Enough for small text, by the rules for accessible pages (WCAG 2, AA).
CONTRAST = 4.5
CSS = 'css selector'


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    """Reports on a run, on what is left of one, on two, on an image."""
    folder = tmp_path_factory.mktemp('browser')
    cfg = tiny_config(folder)
    adapt(cfg)
    run, root = cfg.save_dir, cfg.data.root
    half = folder / ('<b>half' * 3)
    shutil.copytree(run, half)
    for name in ('checkpoints', 'pseudo_labels'):
        shutil.rmtree(half / name)
    (half / 'results.json').unlink()
    image = next((folder / 'data').rglob('*.jpg'))
    wishes = {
        'whole': ReportWish(runs=[run]),
        'half': ReportWish(runs=[half]),
        'both': ReportWish(compare=[run, half]),
        'image': ReportWish(runs=[run], image=str(image)),
    }
    with mock.patch('torchreid_daam.delivery.report.save'):
        return {
            name: report_run(
                wish._replace(root=root, output=str(folder / 'out' / name))
            )
            for name, wish in wishes.items()
        }


@pytest.fixture(scope='module')
def chrome():
    with browser.browser() as opened:
        yield opened


@pytest.mark.parametrize('theme', ['light', 'dark'])
@pytest.mark.parametrize('width', [browser.PHONE, browser.DESK])
@pytest.mark.parametrize('name', PAGES)
def test_nothing_is_wrong(chrome, pages, name, width, theme):
    browser.show(chrome, pages[name], width, theme)
    assert browser.faults(chrome) == []
    assert chrome.execute_script('return innerWidth') == width
    images, _ = chrome.execute_async_script(browser.DECODE)
    # A run shows its images, what is left of one has none.
    assert images > 50 if name == 'whole' else images >= (name == 'image')


def contrast(one, other):
    """Of two colours 'rgb(r, g, b)', by the definition of WCAG 2."""

    def luminance(text):
        digits = text.partition('(')[2].rstrip(')').split(',')[:3]
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (int(digit) / 255 for digit in digits)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize('theme', ['light', 'dark'])
def test_text_is_readable(chrome, pages, theme):
    browser.show(chrome, pages['whole'], browser.DESK, theme)
    ground, *inks = chrome.execute_script("""
        const of = (element, name) => getComputedStyle(element)[name];
        const text = document.querySelector('figure svg g[id^=text] g');
        return [of(document.body, 'backgroundColor'),
          of(document.body, 'color'), of(text, 'fill'),
          of(document.querySelector('td'), 'color')];
    """)
    assert (contrast(ground, 'rgb(0, 0, 0)') < 2) == (theme == 'dark')
    assert [contrast(ground, ink) >= CONTRAST for ink in inks] == [True] * 3


def test_places_are_zoomed_coloured_and_told(chrome, pages):
    browser.show(chrome, pages['whole'], browser.DESK, 'light')
    plot = chrome.find_element(CSS, '.plot')
    points = plot.find_element(CSS, 'svg')
    told = plot.find_element(CSS, 'output')

    def button(name):
        plot.find_element(CSS, f'[data-do={name}]').click()

    def side():
        return float(points.get_dom_attribute('viewBox').split()[2])

    def legend():
        found = plot.find_elements(CSS, '.legend')
        (shown,) = [each.text for each in found if each.is_displayed()]
        return shown

    whole = side()
    button('in')
    assert side() == pytest.approx(0.6 * whole)
    button('home')
    assert side() == whole
    assert 'source' in legend() and 'target' in legend()
    button('colour')
    assert 'cluster' in legend() and 'identity' in legend()
    button('colour')
    assert 'source' in legend()
    circle = points.find_element(CSS, 'circle:last-of-type')
    name = circle.find_element(CSS, 'title')
    browser.webdriver.ActionChains(chrome).move_to_element(circle).perform()
    assert told.text == name.get_attribute('textContent') != ''


FAULTS = {
    '<script>missing()</script>': 'console: ',
    '<img src="data:image/png;base64,AAAA">': 'image: data:image/png',
    '<svg><image href="data:image/png;base64,AAAA"/></svg>': 'image: data',
    '<div style="width: 2000px">wide</div>': 'scrolls ',
    '<img src="https://example.invalid/a.png">': 'asks for https://example',
}


@pytest.mark.parametrize('fault', FAULTS)
def test_each_fault_is_seen(chrome, tmp_path, fault):
    page = tmp_path / 'page.html'
    head = '<!DOCTYPE html><meta name="viewport" content="width=device-width">'
    page.write_text(head + '<link rel="icon" href="data:,">whole')
    browser.show(chrome, page, browser.DESK, 'light')
    assert browser.faults(chrome) == []
    page.write_text(page.read_text() + fault)
    browser.show(chrome, page, browser.DESK, 'light')
    assert any(
        text.startswith(FAULTS[fault]) for text in browser.faults(chrome)
    )


def test_pictures(chrome, pages, tmp_path):
    browser.show(chrome, pages['image'], browser.PHONE, 'light')
    browser.picture(chrome, tmp_path / 'x.png', 0, 300)
    assert (tmp_path / 'x.png').read_bytes()[1:4] == b'PNG'
