for (const plot of document.querySelectorAll('.plot')) {
  const svg = plot.querySelector('svg'), told = plot.querySelector('output');
  const legend = [...told.childNodes];
  const home = [-20, -20, 1040, 1040];
  let box = [...home], from = null;
  const show = () => {
    svg.setAttribute('viewBox', box.join(' '));
    const r = 9 * Math.sqrt(box[2] / home[2]);
    for (const c of svg.querySelectorAll('circle')) c.setAttribute('r', r);
  };
  const zoom = factor => {
    const middle = [box[0] + box[2] / 2, box[1] + box[3] / 2];
    const side = Math.min(1040, Math.max(20, box[2] * factor));
    box = [middle[0] - side / 2, middle[1] - side / 2, side, side];
    show();
  };
  plot.querySelector('.keys').addEventListener('click', event => {
    const what = event.target.dataset.do;
    if (what === 'in') zoom(0.6);
    if (what === 'out') zoom(1 / 0.6);
    if (what === 'home') { box = [...home]; show(); }
    if (what === 'colour') {
      const on = svg.classList.toggle('grouped');
      event.target.textContent = on ? 'by domain' : 'by identity or cluster';
    }
  });
  svg.addEventListener('wheel', event => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 0.8 : 1.25);
  }, { passive: false });
  svg.addEventListener('pointerdown', event => {
    from = [event.clientX, event.clientY, box[0], box[1]];
  });
  addEventListener('pointerup', () => { from = null; });
  svg.addEventListener('pointermove', event => {
    if (from) {
      const scale = box[2] / svg.clientWidth;
      box[0] = from[2] - (event.clientX - from[0]) * scale;
      box[1] = from[3] - (event.clientY - from[1]) * scale;
      show();
    }
    const title = event.target.querySelector?.('title');
    if (event.target.tagName === 'circle' && title) {
      told.textContent = title.textContent;
    } else {
      told.replaceChildren(...legend);
    }
  });
}
