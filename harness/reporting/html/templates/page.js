"use strict";
// Draws the plots of a page, and lets its readers sort and filter the tables. Texts of the page are never made HTML.

const MANY_ROWS = 8; // from which a table has a filter
const PRINT_WIDTH = 980; // pixels of a plot on a sheet of A4, landscape

function drawPlot(canvas) {
  const figure = JSON.parse(document.getElementById(canvas.dataset.figure).textContent);
  const layout = { height: 420, ...figure.layout };
  const buttons = ["toImage", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"];
  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: buttons };
  Plotly.newPlot(canvas, figure.data, layout, options);
  canvas.previousElementSibling.remove(); // the note for readers without JavaScript
}

function resizePlots(change) {
  for (const plot of document.querySelectorAll(".js-plotly-plot")) Plotly.relayout(plot, change);
}

function shownText(cell) {
  return cell ? cell.textContent.trim() : "";
}

// The first number of a cell such as "−4.5 [−6, −3]"; NaN for other texts.
function numberIn(text) {
  const found = text.replaceAll("\u2212", "-").match(/^[<>≤≥~]?\s*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)/i);
  return found ? Number(found[1]) : NaN;
}

function compare(a, b) {
  const [x, y] = [numberIn(a), numberIn(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  if (!Number.isNaN(x) || !Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // texts after numbers
  return a.localeCompare(b, "en", { numeric: true });
}

function sortBy(table, column, heading) {
  const descending = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const keyed = Array.from(table.tBodies[0].rows, (row) => [shownText(row.cells[column]), row]);
  keyed.sort((a, b) => (descending ? compare(b[0], a[0]) : compare(a[0], b[0])));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

function makeSortable(table) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sortBy(table, column, heading));
    heading.replaceChildren(button);
  });
}

// A row stays if it contains every word of the filter.
function makeFilterable(figure, table) {
  const rows = Array.from(table.tBodies[0].rows);
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("span");
  input.type = "search";
  input.placeholder = "words in a row";
  count.setAttribute("aria-live", "polite");
  label.className = "filter";
  label.append("Filter", input, count);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = Array.from(row.cells, shownText).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
  figure.querySelector(".scroll").before(label);
}

for (const figure of document.querySelectorAll("figure.table")) {
  const table = figure.querySelector("table");
  makeSortable(table);
  if (table.tBodies[0].rows.length >= MANY_ROWS) makeFilterable(figure, table);
}
window.addEventListener("beforeprint", () => resizePlots({ width: PRINT_WIDTH }));
window.addEventListener("afterprint", () => resizePlots({ width: null, autosize: true }));
for (const canvas of document.querySelectorAll(".canvas")) {
  const folded = canvas.closest("details:not([open])"); // a plot needs to know its width
  if (folded) folded.addEventListener("toggle", () => drawPlot(canvas), { once: true });
  else drawPlot(canvas);
}
