/* The pages' own script: themes, tables, charts and machines side by side. Without it tables, drawn
   charts and every word are there all the same. */
(function () {
  "use strict";
  const kept = {};
  const root = document.documentElement;
  const prefers = window.matchMedia("(prefers-color-scheme: dark)");

  /* Data scripts of a page call this. */
  window.SIGMABENCH = {
    add: function (kind, value) { kept[kind] = Object.assign(kept[kind] || {}, value); },
  };

  function stored(name, value) {
    try {
      if (value === undefined) return window.localStorage.getItem(name);
      window.localStorage.setItem(name, value);
    } catch (reason) { /* a browser may keep nothing */ }
    return null;
  }

  function made(name, attributes, words) {
    const element = document.createElement(name);
    Object.entries(attributes || {}).forEach(function (pair) { element.setAttribute(pair[0], pair[1]); });
    if (words !== undefined) element.textContent = words;
    return element;
  }

  /* Themes. */
  function dark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : prefers.matches;
  }

  function themes() {
    const button = made("button", { class: "theme", type: "button" });
    function tell() {
      button.textContent = dark() ? "☀" : "☾";
      button.setAttribute("aria-label", dark() ? "Light theme" : "Dark theme");
      button.title = button.getAttribute("aria-label");
    }
    button.addEventListener("click", function () {
      root.dataset.theme = dark() ? "light" : "dark";
      stored("sigmabench-theme", root.dataset.theme);
      tell();
      redraw();
    });
    prefers.addEventListener("change", function () { tell(); redraw(); });
    tell();
    document.querySelector(".top > div").append(button);
  }

  /* Tables. */
  function value(cell) {
    const label = cell.querySelector("[aria-label]");
    const words = (label ? label.getAttribute("aria-label") : cell.textContent).trim();
    const found = words.replace(/[,\u2009]/g, "").replace(/^\u2212/, "-").match(/^[<>+≈]?\s*(-?\d+(\.\d+)?(e[-+]?\d+)?)/i);
    return { words: words, number: found ? parseFloat(found[1]) : null, empty: words === "" || words === "–" };
  }

  function compare(a, b, numeric) {
    if (a.empty || b.empty) return a.empty - b.empty || 0;
    if (numeric && a.number !== null && b.number !== null) return a.number - b.number;
    return a.words.localeCompare(b.words, undefined, { numeric: true });
  }

  function sort(table, column, heads) {
    const head = heads[column], body = table.tBodies[0];
    const now = head.getAttribute("aria-sort");
    const next = now === "ascending" ? "descending" : "ascending";
    heads.forEach(function (one) { one.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", next);
    const rows = Array.from(body.rows).filter(function (row) { return !row.classList.contains("heading"); });
    const numeric = !head.classList.contains("t");
    const keyed = rows.map(function (row, place) { return { row: row, place: place, key: value(row.cells[column]) }; });
    keyed.sort(function (a, b) {
      const order = compare(a.key, b.key, numeric);
      const turned = a.key.empty || b.key.empty ? order : (next === "ascending" ? order : -order);
      return turned || a.place - b.place;
    });
    /* What stood under a heading does so no more. */
    Array.from(body.querySelectorAll("tr.heading")).forEach(function (row) { row.remove(); });
    keyed.forEach(function (one) { one.row.classList.remove("group"); body.append(one.row); });
  }

  function sortable(table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    if (table.tBodies[0].rows.length < 2) return;
    if (table.querySelector("tr.heading")) named(table);
    heads.forEach(function (head, column) {
      const button = made("button", { type: "button" });
      while (head.firstChild) button.append(head.firstChild);
      if (!button.textContent.trim()) button.setAttribute("aria-label", "Sort");
      head.append(button);
      button.addEventListener("click", function () { sort(table, column, heads); });
    });
  }

  /* Rows take the name of the heading that they stand under with them. */
  function named(table) {
    let heading = "";
    Array.from(table.tBodies[0].rows).forEach(function (row) {
      if (row.classList.contains("heading")) heading = row.textContent.trim();
      else row.title = heading;
    });
  }

  function filterable(table, scroll) {
    const rows = Array.from(table.tBodies[0].rows).filter(function (row) { return !row.classList.contains("heading"); });
    if (rows.length < 8) return;
    const tools = made("div", { class: "tools" });
    const called = scroll.getAttribute("aria-label") || "table";
    const input = made("input", { type: "search", placeholder: "Filter rows", "aria-label": "Filter rows of " + called });
    const count = made("span", { "aria-live": "polite" });
    tools.append(input, count);
    scroll.before(tools);
    input.addEventListener("input", function () {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      rows.forEach(function (row) {
        const text = (row.textContent + " " + row.title).toLowerCase();
        const kept = words.every(function (word) { return text.includes(word); });
        row.hidden = !kept;
        left += kept;
      });
      table.querySelectorAll("tr.heading").forEach(function (row) { row.hidden = words.length > 0; });
      count.textContent = words.length ? left + " of " + rows.length + " rows" : "";
    });
  }

  function wide(scroll) {
    const hint = made("p", { class: "hint" }, "The table is wider than the page: scroll it sideways →");
    scroll.after(hint);
    function tell() {
      const more = scroll.scrollWidth - scroll.clientWidth;
      hint.classList.toggle("on", more > 4);
      scroll.classList.toggle("wider", more > 4 && scroll.scrollLeft < more - 4);
    }
    scroll.addEventListener("scroll", tell, { passive: true });
    new ResizeObserver(tell).observe(scroll);
    tell();
  }

  function tables() {
    document.querySelectorAll(".scroll").forEach(function (scroll) {
      const table = scroll.querySelector("table");
      if (table.classList.contains("data")) {
        if (table.tBodies[0].rows.length > 40) scroll.classList.add("long-table");
        filterable(table, scroll);
        sortable(table);
      }
      wide(scroll);
    });
  }

  /* Charts: each is drawn when it comes near what is seen. */
  const live = new Map();

  function themed(value) {
    let text = JSON.stringify(value);
    if (dark()) Object.entries(kept.look.dark).forEach(function (pair) { text = text.split(pair[0]).join(pair[1]); });
    return JSON.parse(text);
  }

  function embed(plot) {
    const spec = (kept.charts || {})[plot.dataset.spec];
    if (!spec || !window.vegaEmbed) return;
    const image = plot.querySelector("img");
    const label = image ? image.alt : plot.getAttribute("aria-label");
    const place = made("div");
    const whole = Object.assign(themed(spec), { width: "container" });
    const before = live.get(plot);
    if (!before) plot.style.minHeight = plot.clientHeight + "px";
    const options = { mode: "vega-lite", ast: true, actions: false, renderer: "svg", config: themed(kept.look.config), tooltip: { theme: "custom" } };
    plot.append(place);
    if (image) image.hidden = true;
    window.vegaEmbed(place, whole, options).then(function (found) {
      if (before) { before.view.finalize(); before.place.remove(); }
      if (image) image.remove();
      plot.style.minHeight = "";
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", label);
      live.set(plot, { view: found, place: place });
    }).catch(function (reason) {
      place.remove();
      if (image) image.hidden = false;
      console.error(reason);
    });
  }

  function redraw() {
    Array.from(live.keys()).forEach(embed);
  }

  function charts() {
    if (!window.vegaEmbed) return;
    const seen = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (!entry.isIntersecting) return;
        seen.unobserve(entry.target);
        embed(entry.target);
      });
    }, { rootMargin: "300px" });
    document.querySelectorAll(".plot").forEach(function (plot) { seen.observe(plot); });
  }

  /* Machines and commits side by side. */
  function sides() {
    const bar = document.querySelector(".side");
    if (!bar) return;
    const found = new Map();
    document.querySelectorAll(".machine").forEach(function (one) {
      if (!found.has(one.dataset.group)) found.set(one.dataset.group, one.dataset.label);
    });
    if (found.size < 2) return;
    function chooser(called, first) {
      const label = made("label", {}, called);
      const select = made("select");
      first.forEach(function (pair) { select.append(made("option", { value: pair[0] }, pair[1])); });
      found.forEach(function (words, key) { select.append(made("option", { value: key }, words)); });
      label.append(select);
      bar.append(label);
      select.addEventListener("change", apply);
      return select;
    }
    const one = chooser("Machine or commit shown", [["*", "All, one below the other"]]);
    const other = chooser("Beside it", [["", "Nothing"]]);
    function apply() {
      other.disabled = one.value === "*";
      const second = other.disabled || other.value === one.value ? "" : other.value;
      document.querySelectorAll(".groups").forEach(function (groups) {
        let shown = 0;
        Array.from(groups.children).forEach(function (machine) {
          const key = machine.dataset.group;
          const there = one.value === "*" || key === one.value || key === second;
          machine.hidden = !there;
          machine.style.order = key === one.value ? 0 : 1;
          shown += there;
        });
        groups.classList.toggle("two", Boolean(second) && shown > 1);
      });
      window.dispatchEvent(new Event("resize"));
    }
    bar.hidden = false;
    apply();
  }

  const theme = stored("sigmabench-theme");
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  document.addEventListener("DOMContentLoaded", function () {
    themes();
    tables();
    sides();
    charts();
  });
}());
