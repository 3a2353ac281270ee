// What is looked at, as the address keeps it: cells, which samples, filters, the chosen sample.

const state = { a: null, b: null, show: 'all', outcomeA: '', outcomeB: '', groups: {}, least: '', most: '', text: '', id: '' };
const PLAIN = { show: 'show', outcomeA: 'oa', outcomeB: 'ob', least: 'min', most: 'max', text: 'q', id: 'id' };
const UNSET = { show: 'all' };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const a = cellNamed(given.get('a')) || cellNamed(index.start[0]);
  const named = given.has('a') ? given.get('b') : index.start[1];
  const b = cellNamed(named);
  state.a = a;
  state.b = b && b.task === a.task ? b : null;
  for (const [key, name] of Object.entries(PLAIN)) state[key] = given.get(name) || UNSET[key] || '';
  state.groups = {};
  for (const [name, value] of given) if (name.startsWith('g:')) state.groups[name.slice(2)] = value;
  tellUnknown(given, named);
}

function tellUnknown(given, named) {
  const unknown = ['a', 'b'].map((side) => given.get(side)).filter((name) => name && name !== 'none' && !cellNamed(name));
  const notice = document.getElementById('notice');
  notice.hidden = true;
  const apart = cellNamed(named) && !state.b;
  if (unknown.length) tell(`This report has no scored cell ${unknown.join(' and no ')}; choose from the lists.`);
  else if (apart) tell(`${state.a.cell} and ${named} are of different tasks: they share no sample.`);
}

function tell(text) {
  const notice = document.getElementById('notice');
  refill(notice, text);
  notice.hidden = false;
}

function writeAddress() {
  const parts = new URLSearchParams();
  parts.set('a', state.a.cell);
  parts.set('b', state.b ? state.b.cell : '');
  parts.set('show', state.show);
  for (const [key, name] of Object.entries(PLAIN)) if (state[key] && key !== 'show') parts.set(name, state[key]);
  for (const [name, value] of Object.entries(state.groups)) if (value) parts.set(`g:${name}`, value);
  history.replaceState(null, '', `#${parts}`);
}

// How two cells stand to each other on a sample, from their headline values.
function relation(a, b, graded) {
  if (a === null || b === null) return 'unpaired';
  if (graded) return a > b ? 'only_a' : a < b ? 'only_b' : 'equal';
  return a === 1 ? (b === 1 ? 'both' : 'only_a') : b === 1 ? 'only_b' : 'neither';
}

const OUTLOOKS = {
  graded: [['only_a', 'A higher'], ['only_b', 'B higher'], ['equal', 'equal']],
  pair: [['only_a', 'only A right'], ['only_b', 'only B right'], ['both', 'both right'], ['neither', 'neither right']],
  single: [['only_a', 'A right'], ['neither', 'A not right']],
};

// Returns the columns of the chosen cells, how they relate on every sample, and the words for that.
async function comparedNow() {
  const columns = await columnsOf(state.a);
  const a = columns.cells[state.a.cell];
  const b = state.b ? columns.cells[state.b.cell] : null;
  const graded = [a, b].some((side) => side && side.values.some((value) => value !== null && value !== 0 && value !== 1));
  const single = (value) => (value === null ? 'unpaired' : graded ? 'all' : value === 1 ? 'only_a' : 'neither');
  const relations = a.values.map((value, i) => (b ? relation(value, b.values[i], graded) : single(value)));
  const outlook = b ? OUTLOOKS[graded ? 'graded' : 'pair'] : graded ? [] : OUTLOOKS.single;
  const unpaired = relations.includes('unpaired') ? [['unpaired', b ? 'not scored by both' : 'not scored']] : [];
  return { columns, a, b, relations, outlook: [...outlook, ...unpaired, ['all', 'all']] };
}
