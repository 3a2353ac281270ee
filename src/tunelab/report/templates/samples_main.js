// Controls, keys, and what happens when something is chosen.

const control = (id) => document.getElementById(id);
let searching = 0;

function fillCells() {
  const option = (cell) => new Option(shownValue(inLine(cell.cell)), cell.cell);
  const grouped = index.tasks.map((task, number) => {
    const made = document.createElement('optgroup');
    made.label = shownValue(task.name);
    made.append(...index.cells.filter((cell) => cell.task === number).map(option));
    return made;
  });
  control('a').replaceChildren(...grouped);
  control('a').value = state.a.cell;
  const others = index.cells.filter((cell) => cell.task === state.a.task);
  control('b').replaceChildren(new Option('none', ''), ...others.map(option));
  control('b').value = state.b ? state.b.cell : '';
}

function fillOutcomes(id, side, chosen) {
  const counts = new Map();
  for (const outcome of side ? side.outcomes : []) counts.set(outcome, (counts.get(outcome) || 0) + 1);
  const known = [...index.outcomes, 'mixed', 'not_asked'].filter((outcome) => counts.has(outcome));
  const options = known.map((outcome) => new Option(`${MARKS[outcome]} ${word(outcome)} (${counts.get(outcome)})`, outcome));
  control(id).replaceChildren(new Option('anything', ''), ...options);
  control(id).value = counts.has(chosen) ? chosen : '';
}

function fillGroups(columns) {
  const made = Object.entries(columns.groups).map(([name, group]) => {
    const select = make('select', '', new Option('any', ''), ...group.values.map((value) => new Option(shownValue(value), value)));
    select.value = group.values.includes(state.groups[name]) ? state.groups[name] : '';
    select.addEventListener('change', () => {
      state.groups[name] = select.value;
      refresh();
    });
    return make('label', '', `${inLine(name)} `, select);
  });
  control('groups').replaceChildren(...made);
}

const shownValue = (text) => make('span', '', text).textContent;

function fillScores() {
  const about = index.pairs.find((pair) => pair.a === state.a.cell && state.b && pair.b === state.b.cell);
  const turned = index.pairs.find((pair) => state.b && pair.a === state.b.cell && pair.b === state.a.cell);
  const said = [`A ${state.a.headline} ${state.a.score}`];
  if (state.b) said.push(`B ${state.b.headline} ${state.b.score}`);
  if (about) said.push(`A − B ${about.said}`);
  else if (turned) said.push(`B − A ${turned.said}`);
  refill(control('scores'), said.join('   ·   '));
}

function fillShow(now, counts) {
  const made = now.outlook.map(([value, name]) => {
    const radio = document.createElement('input');
    radio.type = 'radio';
    radio.name = 'show';
    radio.value = value;
    radio.checked = value === state.show;
    return make('label', '', radio, name, make('b', '', (counts.get(value) || 0).toLocaleString('en')));
  });
  const had = document.activeElement && document.activeElement.name === 'show';
  control('show').replaceChildren(control('show').querySelector('legend'), ...made);
  const checked = control('show').querySelector(':checked');
  if (had && checked) checked.focus();
}

function passes(now, sample) {
  const { a, b, columns } = now;
  if (state.outcomeA && a.outcomes[sample] !== state.outcomeA) return false;
  if (state.outcomeB && b && b.outcomes[sample] !== state.outcomeB) return false;
  const tokens = Math.max(a.tokens[sample], b ? b.tokens[sample] : 0);
  if (state.least !== '' && tokens < Number(state.least)) return false;
  if (state.most !== '' && tokens > Number(state.most)) return false;
  return Object.entries(columns.groups).every(([name, group]) => !state.groups[name] || group.values[group.of[sample]] === state.groups[name]);
}

async function holding(now, samples, turn) {
  const sought = state.text.toLowerCase();
  const cells = state.b ? [state.a, state.b] : [state.a];
  const found = [];
  for (const sample of samples) {
    const texts = searched(now.columns.ids[sample], await textsOf(cells, sample));
    if (turn !== searching) return null;
    if (texts.some((text) => text.toLowerCase().includes(sought))) found.push(sample);
  }
  return found;
}

async function refresh() {
  const turn = ++searching;
  const now = await comparedNow();
  if (turn !== searching) return;
  if (!now.outlook.some(([value]) => value === state.show)) state.show = 'all';
  const asked = now.relations.map((_, sample) => sample).filter((i) => now.a.outcomes[i] !== 'not_asked' || (now.b && now.b.outcomes[i] !== 'not_asked'));
  let passing = asked.filter((sample) => passes(now, sample));
  if (state.text) passing = await holding(now, passing, turn);
  if (passing === null || turn !== searching) return;
  writeAddress();
  const counts = new Map([['all', passing.length]]);
  for (const sample of passing) if (now.relations[sample] !== 'all') counts.set(now.relations[sample], (counts.get(now.relations[sample]) || 0) + 1);
  const found = state.show === 'all' ? passing : passing.filter((sample) => now.relations[sample] === state.show);
  fillAll(now, counts);
  refill(control('count'), `${found.length.toLocaleString('en')} of ${asked.length.toLocaleString('en')} samples`);
  showRows(found, now);
  showDetail(found.find((sample) => now.columns.ids[sample] === state.id));
}

function fillAll(now, counts) {
  fillCells();
  fillScores();
  fillShow(now, counts);
  fillOutcomes('outcome-a', now.a, state.outcomeA);
  fillOutcomes('outcome-b', now.b, state.outcomeB);
  control('outcome-b-label').hidden = !now.b;
  control('swap').disabled = !now.b;
  fillGroups(now.columns);
  for (const id of ['least', 'most', 'text']) if (document.activeElement !== control(id)) control(id).value = state[id];
}

function choose(place) {
  if (place < 0 || place >= shown.length) return;
  state.id = compared.columns.ids[shown[place]];
  writeAddress();
  reveal(place);
  paint();
  active(place);
  showDetail(shown[place]);
}

const PAGE_OF_ROWS = () => Math.max(1, Math.floor(list.clientHeight / ROW) - 1);

function moved(key) {
  const place = placeOfChosen();
  const last = shown.length - 1;
  const to = { ArrowDown: place + 1, j: place + 1, ArrowUp: place - 1, k: place - 1, Home: 0, End: last, PageDown: place + PAGE_OF_ROWS(), PageUp: place - PAGE_OF_ROWS() }[key];
  return to === undefined ? undefined : Math.min(last, Math.max(0, to));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !compared) return;
  const typing = event.target instanceof Element && event.target.closest('input, select, button');
  const inList = event.target === list;
  if (event.key === '/' && !typing) {
    control('text').focus();
  } else if (event.key === 'Escape') {
    list.focus();
  } else if (event.key === 'Enter' && inList) {
    if (placeOfChosen() < 0) choose(0);
    detail.focus();
    detail.scrollIntoView({ block: 'nearest' });
  } else if (!typing && (inList || event.key === 'j' || event.key === 'k') && moved(event.key) !== undefined) {
    choose(moved(event.key));
  } else return;
  event.preventDefault();
}

function onSelect(id, set) {
  control(id).addEventListener('change', () => {
    set(control(id).value);
    refresh();
  });
}

function onInput(id, set) {
  let waiting = 0;
  control(id).addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      set(control(id).value.trim());
      refresh();
    }, 150);
  });
}

function listen() {
  onSelect('a', (name) => {
    state.a = cellNamed(name);
    if (state.b && state.b.task !== state.a.task) state.b = partner(state.a);
  });
  onSelect('b', (name) => (state.b = cellNamed(name) || null));
  onSelect('outcome-a', (value) => (state.outcomeA = value));
  onSelect('outcome-b', (value) => (state.outcomeB = value));
  for (const id of ['least', 'most', 'text']) onInput(id, (value) => (state[id] = value));
  control('show').addEventListener('change', (event) => {
    state.show = event.target.value;
    refresh();
  });
  control('swap').addEventListener('click', swap);
  control('clear').addEventListener('click', clear);
  control('controls').addEventListener('submit', (event) => event.preventDefault());
  list.addEventListener('scroll', repaint, { passive: true });
  list.addEventListener('click', (event) => {
    const row = event.target.closest('.row');
    if (row) choose(Number(row.dataset.place));
  });
  document.addEventListener('keydown', onKey);
  window.addEventListener('resize', repaint);
  window.addEventListener('hashchange', () => {
    readAddress();
    refresh();
  });
}

function partner(cell) {
  const pair = index.pairs.find((found) => found.a === cell.cell && cellNamed(found.b));
  return pair ? cellNamed(pair.b) : index.cells.find((other) => other.task === cell.task && other !== cell) || null;
}

const SWAPPED = { only_a: 'only_b', only_b: 'only_a' };

function swap() {
  [state.a, state.b] = [state.b, state.a];
  [state.outcomeA, state.outcomeB] = [state.outcomeB, state.outcomeA];
  state.show = SWAPPED[state.show] || state.show;
  refresh();
}

function clear() {
  Object.assign(state, { show: 'all', outcomeA: '', outcomeB: '', groups: {}, least: '', most: '', text: '' });
  for (const id of ['least', 'most', 'text']) control(id).value = '';
  refresh();
}

async function open() {
  if (typeof DecompressionStream === 'undefined') {
    const notice = document.getElementById('notice');
    notice.textContent = 'This page needs a newer browser: Chromium 80, Firefox 113, Safari 16.4 or later.';
    notice.hidden = false;
    return;
  }
  Object.assign(index, await unpack('index'));
  compileMarked();
  if (!index.cells.length) return;
  control('explorer').hidden = false;
  readAddress();
  listen();
  await refresh();
}

open().then(() => (document.documentElement.dataset.ready = 'yes'));
