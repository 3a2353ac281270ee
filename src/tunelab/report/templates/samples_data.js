// Chunks are opened when something of them is shown, and kept while they are among the last that were used.

const KEPT = 600;
const opened = new Map();

async function unpack(id) {
  const packed = atob(document.getElementById(id).textContent);
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text());
}

function read(id) {
  const found = opened.get(id) || unpack(id);
  opened.delete(id);
  opened.set(id, found);
  if (opened.size > KEPT) opened.delete(opened.keys().next().value);
  return found;
}

const cellNamed = (name) => index.cells.find((cell) => cell.cell === name);
const taskOf = (cell) => index.tasks[cell.task];
const columnsOf = (cell) => read(`columns-${cell.task}`);

// The texts of one sample under some cells: its facts, and each cell's prompt and answers.
async function textsOf(cells, sample) {
  if (sample >= taskOf(cells[0]).texts) return null;
  const chunk = Math.floor(sample / index.chunk);
  const place = sample % index.chunk;
  const task = cells[0].task;
  const names = [`facts-${task}-${chunk}`];
  for (const cell of cells) names.push(`prompts-${task}-${cell.prompts}-${chunk}`, `answers-${index.cells.indexOf(cell)}-${chunk}`);
  const [facts, ...others] = (await Promise.all(names.map(read))).map((found) => found[place]);
  return { facts, sides: cells.map((cell, i) => ({ cell, prompt: others[2 * i], draws: others[2 * i + 1] })) };
}

async function tokensOf(cell, sample) {
  return (await read(`${cell.tokens}-${Math.floor(sample / index.chunk)}`))[sample % index.chunk];
}

function searched(id, texts) {
  const found = [id];
  for (const side of texts ? texts.sides : []) {
    found.push(...pieces(side.prompt));
    for (const draw of side.draws) found.push(...pieces(draw.output), ...pieces(draw.answer));
  }
  for (const target of texts && texts.facts ? texts.facts.targets : []) found.push(...pieces(target));
  return found;
}
