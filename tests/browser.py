"""A report in headless Chromium: what a person would notice, and pictures.

``python tests/browser.py PAGE OUT`` writes pictures of a page: OUT-light.png
and OUT-dark.png, as wide as a desk's screen, and OUT-phone.png. It needs
selenium, chromium and chromedriver: ``make test-browser`` installs them.
"""

import base64
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

# A user's own profile, updates and sync stay out of it.
FLAGS = (
    '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run '
    '--disable-background-networking --disable-component-update '
    '--disable-sync --hide-scrollbars'
).split()
PHONE, DESK = 390, 1440
DECODE = """
const done = arguments[arguments.length - 1];
const sources = [
  ...[...document.querySelectorAll('img')].map(image => image.src),
  ...[...document.querySelectorAll('svg image')].map(
    image => image.getAttribute('href') || image.getAttribute('xlink:href')),
];
Promise.all(sources.map(source => {
  const image = new Image();
  image.src = source;
  return image.decode().then(() => '', () => String(source).slice(0, 60));
})).then(broken => done([sources.length, broken.filter(text => text)]));
"""
ASIDE = 'scrollTo(9999, 0); const x = scrollX; scrollTo(0, 0); return x;'
# Files that a page asks for, beside those that it holds.
ASKED = """
return performance.getEntriesByType('resource').map(entry => entry.name)
  .filter(name => !name.startsWith('data:'));
"""


def programs() -> tuple[str | None, str | None]:
    """Where the browser and its driver are."""
    names = ('chromium', 'chromium-browser', 'google-chrome')
    found = filter(None, map(shutil.which, names))
    return next(found, None), shutil.which('chromedriver')


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium with a new profile and without a network."""
    chromium, driver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f'--user-data-dir={profile}'):
            options.add_argument(flag)
        chrome = webdriver.Chrome(options, Service(driver))
        try:
            chrome.set_script_timeout(60)
            yield chrome
        finally:
            chrome.quit()


def show(chrome: webdriver.Chrome, page: Path, width: int, theme: str) -> None:
    """Opens a page as a screen of that width and theme shows it."""
    command = chrome.execute_cdp_cmd
    command('Network.enable', {})
    offline = {'offline': True, 'latency': 0}
    offline |= {'downloadThroughput': -1, 'uploadThroughput': -1}
    command('Network.emulateNetworkConditions', offline)
    size = {'width': width, 'height': 900, 'deviceScaleFactor': 1}
    size['mobile'] = width == PHONE
    command('Emulation.setDeviceMetricsOverride', size)
    scheme = {'name': 'prefers-color-scheme', 'value': theme}
    command('Emulation.setEmulatedMedia', {'features': [scheme]})
    chrome.get_log('browser')  # of the page before
    chrome.get(page.resolve().as_uri())


def faults(chrome: webdriver.Chrome) -> list[str]:
    """What is wrong with the page that is shown."""
    found = [f'console: {e["message"]}' for e in chrome.get_log('browser')]
    _, broken = chrome.execute_async_script(DECODE)
    found += [f'image: {source}' for source in broken]
    if aside := chrome.execute_script(ASIDE):
        found.append(f'scrolls {aside} pixels to the side')
    asked = chrome.execute_script(ASKED)
    return found + [f'asks for {name}' for name in asked]


def picture(chrome: webdriver.Chrome, path: Path, top: int, high: int) -> None:
    """Writes what lies between two heights of the page as PNG."""
    width = chrome.execute_script('return innerWidth')
    clip = {'x': 0, 'y': top, 'width': width, 'height': high, 'scale': 1}
    options = {'captureBeyondViewport': True, 'clip': clip}
    shot = chrome.execute_cdp_cmd('Page.captureScreenshot', options)
    path.write_bytes(base64.b64decode(shot['data']))


def main(page: str, out: str) -> None:
    """Writes the three pictures."""
    with browser() as chrome:
        for name, width, theme in (
            ('light', DESK, 'light'),
            ('dark', DESK, 'dark'),
            ('phone', PHONE, 'dark'),
        ):
            show(chrome, Path(page), width, theme)
            high = chrome.execute_script(
                'return document.documentElement.scrollHeight'
            )
            picture(chrome, Path(f'{out}-{name}.png'), 0, high)


if __name__ == '__main__':
    main(*sys.argv[1:])
