// The list: as many rows as fit, moved under the scroll bar; texts come when their chunk is open.

const MARKS = { correct: '✓', wrong: '✗', no_answer: '∅', truncated: '…', refused: '⊘', timeout: '◷', unscored: '○', mixed: '±', not_asked: '–' };
const ROW = 78;
const AROUND = 4;
const list = document.getElementById('list');
const rows = document.getElementById('rows');
const pool = new Map();
let shown = [];
let compared = null;
let painting = 0;

const word = (outcome) => outcome.replace('_', ' ');

function outcomeMark(side, outcome, value) {
  const graded = value !== null && value !== undefined && value !== 0 && value !== 1 ? ` ${value.toFixed(2)}` : '';
  return make('span', outcome, side ? `${side} ` : '', `${MARKS[outcome] || '?'} ${word(outcome)}${graded}`);
}

function marksOf(sample) {
  const found = [outcomeMark(state.b ? 'A' : '', compared.a.outcomes[sample], compared.a.values[sample])];
  if (compared.b) found.push(outcomeMark('B', compared.b.outcomes[sample], compared.b.values[sample]));
  return found;
}

function rowOf(place) {
  const sample = shown[place];
  const name = make('span', 'name', inLine(compared.columns.ids[sample].slice(0, 200)));
  const answers = make('div', 'answers');
  const begin = make('div', 'begin');
  const row = make('div', 'row', make('div', 'head', name, make('span', 'marks', ...marksOf(sample))), answers, begin);
  row.id = `row-${place}`;
  row.dataset.place = place;
  row.setAttribute('role', 'option');
  row.setAttribute('aria-setsize', shown.length);
  row.setAttribute('aria-posinset', place + 1);
  row.style.transform = `translateY(${place * ROW}px)`;
  fill(sample, answers, begin);
  return row;
}

async function fill(sample, answers, begin) {
  const texts = await textsOf(state.b ? [state.a, state.b] : [state.a], sample);
  if (!texts) return;
  const said = texts.sides.map((side, i) => {
    const draw = side.draws[0];
    const answer = draw && draw.answer !== undefined ? inLine(beginning(draw.answer, 80)) : '';
    return `${state.b ? 'AB'[i] + ': ' : ''}${answer || 'no answer'}`;
  });
  refill(answers, said.join('  ·  '));
  const draw = texts.sides[0].draws[0] || (texts.sides[1] && texts.sides[1].draws[0]);
  refill(begin, draw ? inLine(beginning(draw.output, 160)) : '');
}

function paint() {
  painting = 0;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - AROUND);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + AROUND);
  for (const [place, row] of pool) {
    if (place < first || place >= last) {
      row.remove();
      pool.delete(place);
    }
  }
  for (let place = first; place < last; place++) {
    if (!pool.has(place)) {
      const row = rowOf(place);
      pool.set(place, row);
      rows.append(row);
    }
    pool.get(place).setAttribute('aria-selected', compared.columns.ids[shown[place]] === state.id);
  }
}

function repaint() {
  if (!painting) painting = requestAnimationFrame(paint);
}

function showRows(found, now) {
  shown = found;
  compared = now;
  for (const row of pool.values()) row.remove();
  pool.clear();
  rows.style.height = `${Math.max(shown.length * ROW, 1)}px`;
  const place = placeOfChosen();
  if (place < 0) list.scrollTop = 0;
  else reveal(place);
  paint();
  active(place);
}

const placeOfChosen = () => shown.findIndex((sample) => compared.columns.ids[sample] === state.id);

function reveal(place) {
  const top = place * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
}

function active(place) {
  if (place < 0) list.removeAttribute('aria-activedescendant');
  else list.setAttribute('aria-activedescendant', `row-${place}`);
}
