// One sample: what was asked, what each cell wrote, what was read in it and how it was scored.

const detail = document.getElementById('detail');
let showing = 0;

function pre(text, name, whole, ranges) {
  const made = make('pre', name);
  made.dir = 'auto';
  made.tabIndex = 0;
  const parts = pieces(text);
  if (!parts.length || (parts.length === 1 && parts[0] === '')) made.append(make('span', 'soft', '(empty)'));
  else if (!isCut(text)) putMarked(made, parts[0], ranges || []);
  else {
    put(made, parts[0]);
    made.append(cutNote(text, whole));
    put(made, parts[1]);
  }
  return made;
}

function part(title, ...children) {
  return make('div', 'part', make('h4', '', title), ...children);
}

function facts(pairs) {
  const made = make('dl', 'facts');
  for (const [name, value] of pairs) made.append(make('div', '', make('dt', '', name), make('dd', '', value)));
  return made;
}

const joinedText = (text) => pieces(text).join(' … ');

function factsOf(sample, known) {
  const groups = Object.entries(compared.columns.groups).filter(([, group]) => group.of[sample] >= 0);
  const found = groups.map(([name, group]) => [name, group.values[group.of[sample]]]);
  const named = new Set(Object.keys(compared.columns.groups));
  const others = Object.entries((known && known.metadata) || {}).filter(([name]) => !named.has(name));
  return facts([...found, ...others.map(([name, value]) => [name, joinedText(value).slice(0, 300)])]);
}

function answerRange(draw) {
  if (!draw || typeof draw.output !== 'string' || typeof draw.answer !== 'string' || !draw.answer) return [];
  const at = draw.output.lastIndexOf(draw.answer);
  return at < 0 ? [] : [[at, at + draw.answer.length, 'taken']];
}

function headOf(side, letter, draw) {
  const counts = [];
  if (draw && draw.prompt_tokens !== undefined && draw.prompt_tokens !== null) counts.push(`${draw.prompt_tokens} prompt tokens`);
  if (draw && draw.output_tokens !== undefined) counts.push(`${draw.output_tokens} output tokens`);
  if (draw && draw.finish) counts.push(`ended by: ${word(draw.finish)}`);
  const values = draw ? Object.entries(draw.values).map(([name, value]) => `${name} ${Number(value.toFixed(4))}`) : [];
  const head = make('h3', '', ...(letter ? [make('span', 'side', letter)] : []), make('span', '', side.cell.cell));
  head.append(outcomeMark('', draw ? draw.outcome : 'not_asked'));
  return [head, make('div', 'soft', [...values, ...counts].join(' · '))];
}

function sideOf(side, letter, number, only) {
  const draw = side.draws[number];
  const made = make('div', 'of', ...headOf(side, letter, draw));
  if (!draw) return made;
  const where = answerRange(draw);
  made.append(part('output', pre(draw.output || '', 'output', side.cell.whole, [...(only || []), ...where])));
  const note = draw.answer !== undefined && !where.length && !isCut(draw.output) ? ' (not in these words in the output)' : '';
  if (draw.answer !== undefined) made.append(part(`extracted answer${note}`, pre(draw.answer, 'short', side.cell.whole)));
  if (draw.explanation !== undefined) made.append(part('the scorer says', pre(draw.explanation, 'short', side.cell.whole)));
  for (const verdict of draw.verdicts || []) made.append(verdictOf(verdict, side));
  return made;
}

function verdictOf(verdict, side) {
  const said = verdict.value === null ? `no verdict: ${verdict.reason}` : `verdict ${verdict.value}${verdict.reason ? `, ${verdict.reason}` : ''}`;
  return part(`judge ${verdict.judge}: ${said}`, ...verdict.replies.map((reply) => pre(reply, 'reply', side.cell.whole)));
}

// A prompt with a button that shows its tokens, where the tokenizer was at hand when the report was written.
function promptOf(side, title, sample) {
  const made = part(title, pre(side.prompt, 'prompt', side.cell.whole));
  if (!side.cell.tokens || typeof side.prompt !== 'string') return made;
  const button = make('button', 'quiet', 'tokens');
  button.type = 'button';
  button.setAttribute('aria-pressed', 'false');
  button.addEventListener('click', async () => {
    const pressed = button.getAttribute('aria-pressed') !== 'true';
    const tokens = pressed ? await tokensOf(side.cell, sample) : null;
    if (pressed && !tokens) {
      button.disabled = true;
      return;
    }
    button.setAttribute('aria-pressed', String(pressed));
    made.querySelector('pre').replaceWith(pressed ? tokenised(side, tokens) : pre(side.prompt, 'prompt', side.cell.whole));
  });
  made.querySelector('h4').append(' ', button);
  return made;
}

function tokenised(side, tokens) {
  const made = make('pre', 'prompt tokens');
  made.tabIndex = 0;
  let from = 0;
  tokens.ids.forEach((id, i) => {
    const piece = make('span', i % 2 ? 'token odd' : 'token', side.prompt.slice(from, tokens.ends[i]));
    piece.title = `token ${i + 1} of ${tokens.ids.length}: id ${id}`;
    made.append(piece);
    from = tokens.ends[i];
  });
  const sent = side.draws[0] && side.draws[0].prompt_tokens;
  const other = sent !== undefined && sent !== null && sent !== tokens.ids.length ? `; ${sent} were sent, with what a text does not show, such as a mark of its beginning` : '';
  made.append(make('span', 'cut', `${tokens.ids.length} tokens${other}`));
  return made;
}

function promptsOf(texts, sample) {
  const [first, second] = texts.sides;
  const differ = second && JSON.stringify(first.prompt) !== JSON.stringify(second.prompt);
  const sides = differ && first.prompt !== null && second.prompt !== null ? [first, second] : [first.prompt === null && second ? second : first];
  const made = sides.map((side, i) => {
    const title = sides.length > 1 ? `prompt as sent to ${'AB'[i]}` : 'prompt as sent';
    return promptOf(side, title, sample);
  });
  return make('div', sides.length > 1 ? 'sides' : 'sides one', ...made);
}

function targetsOf(known, whole) {
  if (!known || !known.targets.length) return [];
  return [part(known.targets.length > 1 ? 'targets' : 'target', ...known.targets.map((target) => pre(target, 'target', whole)))];
}

function outputsOf(texts, number) {
  const draws = texts.sides.map((side) => side.draws[number]);
  const both = draws.length === 2 && draws.every((draw) => draw && typeof (draw.output || '') === 'string');
  const only = both ? differences(draws[0].output || '', draws[1].output || '') : [null, null];
  const sides = texts.sides.map((side, i) => sideOf(side, texts.sides.length > 1 ? 'AB'[i] : '', number, only && only[i]));
  const note = diffNote(draws, only);
  return make('div', '', ...(note ? [make('p', 'note', note)] : []), make('div', texts.sides.length > 1 ? 'sides' : 'sides one', ...sides));
}

function diffNote(draws, only) {
  if (draws.length < 2 || draws.some((draw) => !draw)) return '';
  if (only === null) return `The outputs differ in more than ${MOST_WORDS.toLocaleString('en')} words: differences are not marked.`;
  if (draws.some((draw) => isCut(draw.output))) return 'An output is cut here: differences are not marked.';
  if (draws[0].output === draws[1].output) return 'Both wrote the same.';
  return 'Underlined: words that only this side wrote. Framed: the extracted answer.';
}

function drawPicker(texts, outputs) {
  const most = Math.max(...texts.sides.map((side) => side.draws.length));
  if (most < 2) return [];
  const select = make('select', '', ...Array.from({ length: most }, (_, i) => new Option(`draw ${i + 1} of ${most}`, i)));
  select.addEventListener('change', () => outputs.replaceChildren(outputsOf(texts, Number(select.value))));
  return [make('label', '', 'show ', select)];
}

async function showDetail(sample) {
  const turn = ++showing;
  if (sample === undefined) {
    refill(detail, make('p', 'note', shown.length ? 'Choose a sample from the list.' : 'No sample is like this; change the filters.'));
    return;
  }
  const texts = await textsOf(state.b ? [state.a, state.b] : [state.a], sample);
  if (turn !== showing) return;
  const head = make('h2', '', compared.columns.ids[sample]);
  if (!texts) {
    const task = taskOf(state.a);
    refill(detail, head, factsOf(sample), make('p', 'note', `This page carries the texts of the first ${task.texts.toLocaleString('en')} of ${task.samples.toLocaleString('en')} samples; this one is in ${state.a.whole}.`));
    return;
  }
  const outputs = make('div', '', outputsOf(texts, 0));
  refill(detail, head, factsOf(sample, texts.facts), promptsOf(texts, sample), ...targetsOf(texts.facts, state.a.whole), ...drawPicker(texts, outputs), outputs);
}
