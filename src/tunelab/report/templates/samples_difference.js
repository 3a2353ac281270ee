// Words that only one of two texts has, by their longest common subsequence.

const MOST_WORDS = 1500;
const WORD = /\s+|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{M}\p{N}_]+|./gsu;

function sharedEnds(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  return [start, end];
}

function lengths(a, b) {
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const at = i * width + j;
      table[at] = a[i] === b[j] ? table[at + width + 1] + 1 : Math.max(table[at + width], table[at + 1]);
    }
  }
  return table;
}

// Returns the ranges of characters that only a has and that only b has; null where that would take too long.
function differences(one, other) {
  const a = one.match(WORD) || [];
  const b = other.match(WORD) || [];
  const [start, end] = sharedEnds(a, b);
  const middleA = a.slice(start, a.length - end);
  const middleB = b.slice(start, b.length - end);
  if (Math.max(middleA.length, middleB.length) > MOST_WORDS) return null;
  const offset = a.slice(0, start).join('').length;
  return walk(middleA, middleB, lengths(middleA, middleB), offset);
}

function walk(a, b, table, offset) {
  const width = b.length + 1;
  const only = [[], []];
  const at = [offset, offset];
  const step = (side, word) => {
    if (word !== null) only[side].push([at[side], at[side] + word.length, 'only']);
  };
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      at[0] += a[i++].length;
      at[1] += b[j++].length;
    } else if (j === b.length || (i < a.length && table[(i + 1) * width + j] >= table[i * width + j + 1])) {
      step(0, a[i]);
      at[0] += a[i++].length;
    } else {
      step(1, b[j]);
      at[1] += b[j++].length;
    }
  }
  return only.map(joined);
}

function joined(ranges) {
  const found = [];
  for (const range of ranges) {
    const last = found[found.length - 1];
    if (last && last[1] === range[0]) last[1] = range[1];
    else found.push(range);
  }
  return found;
}
