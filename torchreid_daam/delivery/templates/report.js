for (const plot of document.querySelectorAll('.plot')) {
  const svg = plot.querySelector('svg'), told = plot.querySelector('output');
  const hint = told.textContent;
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
    const button = event.target, what = button.dataset.do;
    if (what === 'in') zoom(0.6);
    if (what === 'out') zoom(1 / 0.6);
    if (what === 'home') { box = [...home]; show(); }
    if (what === 'colour') {
      plot.classList.toggle('grouped');
      [button.textContent, button.dataset.other] = [button.dataset.other, button.textContent];
    }
  });
  svg.addEventListener('wheel', event => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 0.8 : 1.25);
  }, { passive: false });
  const tell = event => {
    const title = event.target.querySelector('title');
    told.textContent = event.target.tagName === 'circle' && title ? title.textContent : hint;
  };
  svg.addEventListener('pointerover', tell);
  svg.addEventListener('pointerdown', event => {
    tell(event);
    from = [event.clientX, event.clientY, box[0], box[1]];
  });
  addEventListener('pointerup', () => { from = null; });
  addEventListener('pointercancel', () => { from = null; });
  svg.addEventListener('pointermove', event => {
    if (!from) return;
    const scale = box[2] / svg.clientWidth;
    box[0] = from[2] - (event.clientX - from[0]) * scale;
    box[1] = from[3] - (event.clientY - from[1]) * scale;
    show();
  });
}
