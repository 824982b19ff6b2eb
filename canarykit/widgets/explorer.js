// Draws the bars of an Explorer as buttons and the people behind the chosen one as a table.
// Everything that comes from data is set as text, never as markup.

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function isWebAddress(text) {
  return /^https?:\/\//.test(text);
}

function drawBar(bar, model) {
  const row = element("div", "ck-bar");
  row.append(element("span", "ck-label", bar.label));
  const track = element("span", "ck-track");
  for (const part of bar.parts) {
    const button = element("button", `ck-part ck-${part.tone}`);
    button.type = "button";
    button.dataset.part = part.id;
    button.style.flexBasis = `${Math.max(part.width * 100, 1)}%`;
    button.title = `${part.label}: ${part.value}`;
    button.setAttribute("aria-label", `${bar.group}, ${part.label}: ${part.value}`);
    button.addEventListener("click", () => {
      model.set("selection", part.id);
      model.save_changes();
    });
    track.append(button);
  }
  row.append(track);
  row.append(element("span", "ck-value", bar.parts.map((part) => part.value).join(" · ")));
  return row;
}

function drawTable(table) {
  const box = element("div", "ck-people");
  if (!table || !table.columns) {
    box.append(element("p", "ck-quiet", "Choose a part of the picture to see the people behind it."));
    return box;
  }
  box.append(element("p", "ck-title", table.title));
  const grid = element("table");
  const head = grid.createTHead().insertRow();
  for (const column of table.columns) {
    const cell = element("th", "", column.label);
    cell.scope = "col";
    head.append(cell);
  }
  const body = grid.createTBody();
  for (const row of table.rows) {
    const line = body.insertRow();
    row.forEach((text, place) => {
      const cell = line.insertCell();
      if (table.columns[place].is_link && isWebAddress(text)) {
        const link = element("a", "", "open");
        link.href = text;
        link.target = "_blank";
        link.rel = "noopener";
        cell.append(link);
      } else {
        cell.textContent = text;
      }
    });
  }
  box.append(grid);
  if (table.total > table.rows.length) {
    box.append(element("p", "ck-quiet", `${table.rows.length} of ${table.total}; view.people has all.`));
  }
  return box;
}

function render({ model, el }) {
  const root = element("div", "ck-explorer");
  const bars = element("div", "ck-bars");
  const people = element("div");
  people.setAttribute("aria-live", "polite");
  let shown = "";

  const filter = element("select");
  filter.setAttribute("aria-label", "show");
  for (const group of ["", ...model.get("groups")]) {
    const option = element("option", "", group || "all");
    option.value = group;
    filter.append(option);
  }
  filter.addEventListener("change", () => {
    shown = filter.value;
    drawBars();
  });

  function drawBars() {
    const focused = document.activeElement?.dataset?.part;
    const heads = new Set();
    bars.replaceChildren();
    for (const bar of model.get("bars")) {
      if (shown && bar.group !== shown) continue;
      if (!heads.has(bar.group)) bars.append(element("p", "ck-group", bar.group));
      heads.add(bar.group);
      bars.append(drawBar(bar, model));
    }
    mark();
    if (focused) [...bars.querySelectorAll("button")].find((b) => b.dataset.part === focused)?.focus();
  }

  function mark() {
    for (const button of bars.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.part === model.get("selection")));
    }
  }

  function showPeople() {
    people.replaceChildren(drawTable(model.get("table")));
  }

  root.append(element("p", "ck-title", model.get("title")));
  if (model.get("groups").length > 1) root.append(filter);
  root.append(bars, element("p", "ck-quiet", model.get("caption")), people);
  el.append(root);
  drawBars();
  showPeople();
  model.on("change:selection", mark);
  model.on("change:table", showPeople);
  model.on("change:bars", drawBars);
}

export default { render };
