// Text of a model is data: it becomes text nodes, and what a reader would not see becomes a mark.

const index = {};

function make(tag, name, ...children) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  for (const child of children) typeof child === 'string' ? put(made, child) : made.append(child);
  return made;
}

function hex(code) {
  return code.toString(16).toUpperCase().padStart(4, '0');
}

function compileMarked() {
  const escaped = (code) => `\\u{${hex(code)}}`;
  const ranges = index.marked.map(([first, last]) => `${escaped(first)}-${escaped(last)}`).join('');
  const joiners = index.joiners.map(escaped).join('');
  const ascii = '[^\\u{0}-\\u{7F}]';
  index.pattern = new RegExp(`[${ranges}]|(?<!${ascii})[${joiners}]|[${joiners}](?!${ascii})`, 'gu');
}

function put(parent, text) {
  let from = 0;
  for (const found of text.matchAll(index.pattern)) {
    if (found.index > from) parent.append(document.createTextNode(text.slice(from, found.index)));
    const code = document.createElement('span');
    code.className = 'code';
    code.textContent = `U+${hex(found[0].codePointAt(0))}`;
    parent.append(code);
    from = found.index + found[0].length;
  }
  if (from < text.length) parent.append(document.createTextNode(text.slice(from)));
}

function refill(element, ...children) {
  element.replaceChildren();
  for (const child of children) typeof child === 'string' ? put(element, child) : element.append(child);
}

// A text is a string, or {head, tail, length} of one that was cut when the report was written.
const pieces = (text) => (text === undefined || text === null ? [] : typeof text === 'string' ? [text] : [text.head, text.tail]);
const isCut = (text) => typeof text === 'object' && text !== null;
const beginning = (text, most) => (pieces(text)[0] || '').slice(0, most);
const inLine = (text) => text.replace(/[ \t\n]+/g, ' ').replace(/^ | $/g, ''); // \s would hide U+FEFF

function cutNote(text, whole) {
  const left = text.length - [...text.head].length - [...text.tail].length;
  return make('span', 'cut', `${left.toLocaleString('en')} of ${text.length.toLocaleString('en')} characters are left out here; the whole text is in ${whole}`);
}

// Ranges are [start, end, class], sorted within a class; classes may overlap.
function putMarked(parent, text, ranges) {
  const edges = [...new Set([0, text.length, ...ranges.flatMap(([start, end]) => [start, end])])].sort((x, y) => x - y);
  for (let i = 0; i + 1 < edges.length; i++) {
    const names = ranges.filter(([start, end]) => start <= edges[i] && edges[i + 1] <= end).map((range) => range[2]);
    const part = text.slice(edges[i], edges[i + 1]);
    if (names.length) parent.append(make('mark', names.join(' '), part));
    else put(parent, part);
  }
}
