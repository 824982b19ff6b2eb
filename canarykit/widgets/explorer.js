// Draws the bars of an Explorer as buttons and the people behind the chosen one as a table.
// Everything that comes from data is set as text, never as markup.

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function link(address, text) {
  if (!/^https?:\/\//.test(address)) return element("span", "", address);
  const made = element("a", "", text);
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener";
  return made;
}

function drawBar(bar, model) {
  const row = element("div", "ck-bar");
  row.append(element("span", "ck-label", bar.label));
  const track = element("span", "ck-track");
  for (const part of bar.parts) {
    const button = element("button", `ck-part ck-${part.tone}`);
    button.type = "button";
    button.dataset.part = part.id;
    button.style.flexBasis = `${part.width * 100}%`;
    button.title = `${part.label}: ${part.value}`;
    button.setAttribute("aria-label", `${bar.group}, ${part.label}: ${part.value}`);
    button.addEventListener("click", () => {
      model.set("selection", part.id);
      model.save_changes();
    });
    track.append(button);
  }
  row.append(track);
  row.append(element("span", "ck-value", bar.parts.map((part) => part.value).join("; ")));
  return row;
}

function drawEvents(person, events) {
  const folded = element("details");
  folded.append(element("summary", "", person));
  const list = element("ol");
  for (const event of events) {
    const item = element("li", "", `${event.when} ${event.what} `);
    if (event.link) item.append(link(event.link, "recording"));
    list.append(item);
  }
  folded.append(list);
  return folded;
}

function drawTable(table) {
  const box = element("div", "ck-people");
  if (!table || !table.columns) {
    box.append(element("p", "ck-quiet", "Choose a part of the picture to see the people behind it."));
    return box;
  }
  box.append(element("p", "ck-title", table.title));
  const wide = element("div", "ck-wide");
  wide.tabIndex = 0;
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-label", table.title);
  const grid = element("table");
  const head = grid.createTHead().insertRow();
  for (const column of table.columns) {
    const cell = element("th", "", column.label);
    cell.scope = "col";
    head.append(cell);
  }
  const body = grid.createTBody();
  table.rows.forEach((row, person) => {
    const line = body.insertRow();
    const events = table.events[person] || [];
    row.forEach((text, place) => {
      const cell = line.insertCell();
      if (place === 0 && events.length) cell.append(drawEvents(text, events));
      else if (table.columns[place].is_link) cell.append(link(text, "open"));
      else cell.textContent = text;
    });
  });
  wide.append(grid);
  box.append(wide);
  if (table.total > table.rows.length) {
    box.append(element("p", "ck-quiet", `${table.rows.length} of ${table.total}; view.people has all.`));
  }
  return box;
}

function drawChoice(name, everything, values, chosen, choose) {
  const label = element("label", "ck-choice", `${name} `);
  const select = element("select");
  for (const value of ["", ...values]) {
    const option = element("option", "", value || everything);
    option.value = value;
    select.append(option);
  }
  select.value = chosen;
  select.addEventListener("change", () => choose(select.value));
  label.append(select);
  return label;
}

function render({ model, el }) {
  const root = element("div", "ck-explorer");
  const title = element("p", "ck-title");
  const choices = element("div", "ck-choices");
  const bars = element("div", "ck-bars");
  const caption = element("p", "ck-quiet");
  const people = element("div");
  people.setAttribute("aria-live", "polite");
  let shown = "";

  function drawChoices() {
    const groups = model.get("groups");
    const name = model.get("segment_name");
    if (!groups.includes(shown)) shown = "";
    choices.replaceChildren();
    if (groups.length > 1) {
      const show = (value) => {
        shown = value;
        drawBars();
      };
      choices.append(drawChoice("variant", "all", groups, shown, show));
    }
    if (name) {
      const narrow = (value) => {
        model.set("segment", value);
        model.save_changes();
      };
      choices.append(drawChoice(name, "everybody", model.get("segments"), model.get("segment"), narrow));
    }
  }

  function drawBars() {
    const focused = document.activeElement?.dataset?.part;
    let heading = "";
    bars.replaceChildren();
    for (const bar of model.get("bars")) {
      if (shown && bar.group !== shown) continue;
      if (bar.heading && bar.heading !== heading) bars.append(element("p", "ck-group", bar.heading));
      heading = bar.heading;
      bars.append(drawBar(bar, model));
    }
    title.textContent = model.get("title");
    caption.textContent = model.get("caption");
    mark();
    if (focused) [...bars.querySelectorAll("button")].find((b) => b.dataset.part === focused)?.focus();
  }

  function mark() {
    for (const button of bars.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.part === model.get("selection")));
    }
  }

  function drawAll() {
    const inChoices = choices.contains(document.activeElement);
    drawChoices();
    drawBars();
    if (inChoices) choices.querySelector("label:last-child select")?.focus();
  }

  function showPeople() {
    people.replaceChildren(drawTable(model.get("table")));
  }

  root.append(title, choices, bars, caption, people);
  el.append(root);
  drawAll();
  showPeople();
  const heard = { selection: mark, table: showPeople, bars: drawAll, segment: drawChoices };
  for (const [name, answer] of Object.entries(heard)) model.on(`change:${name}`, answer);
  return () => {
    for (const [name, answer] of Object.entries(heard)) model.off(`change:${name}`, answer);
  };
}

export default { render };
