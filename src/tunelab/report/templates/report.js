"use strict";
{
/* Compares two variants by the rows of the table of all settings; without this script that table stands there open. */
function compareSettings(whole, form) {
  const rows = [...whole.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));
  const [one, other] = form.querySelectorAll("select");
  const [first, second] = form.querySelectorAll("thead th + th");
  const say = form.querySelector("[role=status]");
  const show = () => {
    const [i, j] = [one.selectedIndex + 1, other.selectedIndex + 1];
    const differing = rows.filter((row) => row[i] !== row[j]);
    first.textContent = one.value;
    second.textContent = other.value;
    form.querySelector("tbody").replaceChildren(...differing.map((row) => tableRow(row[0], row[i], row[j])));
    form.querySelector(".scroll").hidden = differing.length === 0;
    say.textContent = `${differing.length} of ${rows.length} settings differ`;
  };
  other.selectedIndex = Math.min(1, other.options.length - 1);
  form.addEventListener("change", show);
  form.hidden = false;
  whole.closest("details").open = false;
  show();
}
function tableRow(setting, ...values) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = setting;
  row.append(head, ...values.map((value) => Object.assign(document.createElement("td"), { className: "text", textContent: value })));
  return row;
}
const whole = document.getElementById("table-all_settings");
if (whole) compareSettings(whole, document.getElementById("compare"));
/* On paper nothing can be opened. */
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
}
