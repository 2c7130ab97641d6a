"use strict";
// Shows one pair after the other and collects votes.  It loads nothing; a reload of the tab keeps the votes.

const page = document.body.dataset.page, pairs = [...document.querySelectorAll(".pair")];
const at = name => document.getElementById(name);
const bytes = [...crypto.getRandomValues(new Uint8Array(8))];
let voter = bytes.map(byte => byte.toString(16).padStart(2, "0")).join(""), votes = [], stopped = false;
try { ({ voter, votes } = JSON.parse(sessionStorage[page])); } catch { /* a new tab, or no storage */ }

const show = () => {
  const text = JSON.stringify({ page, voter, votes }), place = votes.length;
  const done = stopped || place === pairs.length;
  try { sessionStorage[page] = text; } catch { /* some browsers store nothing for files */ }
  pairs.forEach((pair, index) => { pair.hidden = done || index !== place; });
  at("ask").hidden = done;
  at("end").hidden = !done;
  at("back").hidden = !place;
  at("stop").hidden = done || !place;
  at("bar").value = place;
  at("count").textContent = done ? `${place} votes` : `Pair ${place + 1} of ${pairs.length}`;
  at("text").textContent = text;
  at("save").href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
};
const vote = value => {
  if (!stopped && votes.length < pairs.length) votes.push(value);
  show();
};
const back = () => {
  if (!stopped) votes.pop();
  stopped = false;
  show();
};

at("ask").addEventListener("click", event => { if (event.target.value) vote(Number(event.target.value)); });
at("back").addEventListener("click", back);
at("stop").addEventListener("click", () => { stopped = true; show(); });
document.addEventListener("keydown", event => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (["0", "1", "2"].includes(event.key)) vote(Number(event.key));
  if (event.key === "Backspace") back();
});
show();
