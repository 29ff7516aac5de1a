// The live mount table: one row a mount, one column a namespace. Rows are keyed, so that only what changes is touched.
import { explain } from "./explain.js";

/**
 * @typedef {import("./link.js").RowTold} RowTold
 * @typedef {import("./link.js").ColumnTold} ColumnTold
 * @typedef {{field: string, head: string, namespace?: ColumnTold}} Field
 */

const MOST = 500; // rows drawn at once: the newest
const MARKED = 2000; // milliseconds that a change stays marked
const FADE = 600;
/** @type {[string, string][]} */
const MODES = [
  ["differences", "differences only"],
  ["all", "all"],
  ["kit", "with the kit's own"],
];

export class Table {
  /**
   * @param {HTMLElement} element
   * @param {AbortSignal} signal
   */
  constructor(element, signal) {
    this.mode = "all";
    /** @type {Map<number, RowTold>} */
    this.rows = new Map();
    /** @type {ColumnTold[]} */
    this.columns = [];
    /** @type {Field[]} */
    this.fields = [];
    /** @type {Map<number, HTMLTableRowElement>} */
    this.drawn = new Map();

    const bar = child(element, "div", "labkit-bar");
    const modes = child(bar, "div", "labkit-modes");
    modes.setAttribute("role", "radiogroup");
    modes.setAttribute("aria-label", "which mounts");
    const name = `labkit-mode-${Math.random()}`;
    for (const [mode, text] of MODES) {
      const label = child(modes, "label", "");
      const radio = /** @type {HTMLInputElement} */ (child(label, "input", ""));
      radio.type = "radio";
      radio.name = name;
      radio.checked = mode === this.mode;
      child(label, "span", "").textContent = text;
      radio.addEventListener("change", () => this.choose(mode), { signal });
    }
    modes.addEventListener("keydown", (event) => step(modes, event), { signal });
    this.count = child(bar, "span", "labkit-count");
    const scroll = child(element, "div", "labkit-scroll");
    const table = child(scroll, "table", "");
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", "mounts, and which namespaces see them");
    this.head = child(child(table, "thead", ""), "tr", "");
    this.body = /** @type {HTMLTableSectionElement} */ (child(table, "tbody", ""));
    this.empty = child(element, "p", "labkit-empty");
    this.told = child(element, "p", "labkit-explained");
    this.told.setAttribute("role", "status");
    this.told.textContent = "Click on a column head or a field, and it is explained here.";
    table.addEventListener("click", (event) => this.choosen(event.target), { signal });
    table.addEventListener("keydown", (event) => this.key(event), { signal });
    this.element = element;
  }

  /** @param {string} mode */
  choose(mode) {
    this.mode = mode;
    this.draw(false);
  }

  /** The kernel has ended: what stands here is the past. */
  end() {
    this.element.classList.add("labkit-ended");
  }

  /** @param {import("./link.js").TableTold} told with base 0: the whole table */
  tell(told) {
    const whole = told.base === 0;
    const columns = JSON.stringify(this.columns) !== JSON.stringify(told.columns);
    this.columns = told.columns;
    if (whole) this.rows.clear();
    for (const number of told.removed) this.rows.delete(number);
    /** @type {Map<number, RowTold>} */
    const changed = new Map();
    for (const row of told.rows) {
      const before = this.rows.get(row.row);
      if (before) changed.set(row.row, before);
      this.rows.set(row.row, row);
    }
    if (whole || columns) this.begin();
    this.draw(!whole && !columns, changed);
  }

  /** Other columns: all rows are drawn anew. */
  begin() {
    this.fields = [
      { field: "mount_point", head: "mount point" },
      ...this.columns.map((namespace) => ({ field: "seen", head: namespace.label, namespace })),
      { field: "fstype", head: "type" },
      { field: "source", head: "source" },
      { field: "options", head: "options" },
      { field: "propagation", head: "propagation" },
      { field: "peer_group", head: "peer group" },
    ];
    this.drawn.clear();
    this.body.replaceChildren();
    this.head.replaceChildren(
      ...this.fields.map(({ head, namespace }, index) => {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.tabIndex = index ? -1 : 0;
        if (namespace) {
          const label = child(cell, "span", "labkit-label");
          label.textContent = head;
          label.style.background = namespace.colour;
          child(cell, "span", "labkit-who").textContent = namespace.terminals.join(", ") || namespace.process;
          cell.setAttribute("aria-label", `seen in namespace ${head}, ${namespace.terminals.join(", ")}`);
        } else cell.textContent = head;
        return cell;
      }),
    );
  }

  /**
   * @param {boolean} lively show what is new and what has gone
   * @param {Map<number, RowTold>} [changed] rows as they were before
   */
  draw(lively, changed = new Map()) {
    const shown = [...this.rows.values()].filter((row) => this.shows(row)).sort((a, b) => a.row - b.row);
    const wanted = shown.slice(-MOST);
    const numbers = new Set(wanted.map((row) => row.row));
    for (const [number, element] of this.drawn)
      if (!numbers.has(number)) {
        this.drawn.delete(number);
        if (lively && !this.rows.has(number)) fade(element);
        else element.remove();
      }
    /** @type {Element | null} */
    let after = null;
    for (const row of wanted) {
      let element = this.drawn.get(row.row);
      if (!element) {
        element = this.row(row);
        this.drawn.set(row.row, element);
        after ? after.after(element) : this.body.prepend(element);
        if (lively && !changed.has(row.row)) mark(element, "labkit-new");
      } else if (changed.has(row.row)) this.renew(element, row);
      after = element;
    }
    this.summarize(shown.length, wanted.length);
  }

  /** @param {RowTold} row */
  shows(row) {
    if (this.mode === "kit") return true;
    return !row.kit && (this.mode === "all" || row.seen.length < this.columns.length);
  }

  /** @param {RowTold} row */
  row(row) {
    const element = document.createElement("tr");
    element.dataset.row = String(row.row);
    for (const field of this.fields) {
      const cell = document.createElement("td");
      cell.tabIndex = -1;
      fill(cell, field, row);
      element.append(cell);
    }
    return element;
  }

  /**
   * @param {HTMLTableRowElement} element
   * @param {RowTold} row
   */
  renew(element, row) {
    this.fields.forEach((field, index) => {
      if (fill(element.cells[index], field, row)) mark(element.cells[index], "labkit-changed");
    });
  }

  /**
   * @param {number} shown
   * @param {number} drawn
   */
  summarize(shown, drawn) {
    const own = [...this.rows.values()].filter((row) => !row.kit);
    const some = own.filter((row) => row.seen.length < this.columns.length).length;
    const rest = shown > drawn ? `; the newest ${drawn} are drawn` : "";
    this.count.textContent = `${own.length} mount${own.length === 1 ? "" : "s"}, ${some} not seen by all${rest}`;
    this.empty.textContent = shown
      ? ""
      : this.columns.length > 1
        ? "No difference: every namespace sees the same mounts."
        : this.columns.length
          ? "No difference: there is one namespace only."
          : "";
  }

  /** @param {EventTarget | null} target */
  choosen(target) {
    const cell = /** @type {HTMLElement} */ (target).closest("th, td");
    if (cell instanceof HTMLTableCellElement) this.focus(cell);
  }

  /** @param {HTMLTableCellElement} cell */
  focus(cell) {
    for (const each of this.element.querySelectorAll("th[tabindex='0'], td[tabindex='0']"))
      /** @type {HTMLElement} */ (each).tabIndex = -1;
    cell.tabIndex = 0;
    cell.focus();
    const field = this.fields[cell.cellIndex];
    const number = /** @type {HTMLElement} */ (cell.parentElement).dataset.row;
    this.told.textContent = explain(field, number ? this.rows.get(Number(number)) : undefined);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const cell = /** @type {HTMLElement} */ (event.target).closest("th, td");
    if (!(cell instanceof HTMLTableCellElement)) return;
    const line = /** @type {HTMLTableRowElement} */ (cell.parentElement);
    const lines = [/** @type {HTMLTableRowElement} */ (this.head), ...this.body.rows];
    const at = lines.indexOf(line);
    const column = cell.cellIndex;
    const to = {
      ArrowLeft: line.cells[column - 1],
      ArrowRight: line.cells[column + 1],
      ArrowUp: lines[at - 1]?.cells[column],
      ArrowDown: lines[at + 1]?.cells[column],
      Home: line.cells[0],
      End: line.cells[line.cells.length - 1],
      Enter: cell,
      " ": cell,
    }[event.key];
    if (!to) return;
    event.preventDefault();
    this.focus(to);
  }
}

/**
 * Whether it says something else than before.
 * @param {HTMLTableCellElement} cell
 * @param {Field} field
 * @param {RowTold} row
 */
function fill(cell, field, row) {
  const { namespace } = field;
  const sees = namespace && row.seen.includes(namespace.label);
  const text = namespace ? (sees ? "✓ yes" : "– no") : row[/** @type {"source"} */ (field.field)];
  if (cell.textContent === text) return false;
  cell.textContent = text;
  if (namespace) cell.className = sees ? "labkit-yes" : "labkit-no";
  else cell.title = text;
  return true;
}

/**
 * The arrows choose the next or the last radio button, which JupyterLab keeps the browser from doing.
 * @param {HTMLElement} group
 * @param {KeyboardEvent} event
 */
function step(group, event) {
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  event.stopPropagation();
  const radios = [...group.querySelectorAll("input")];
  const next = radios[(radios.findIndex((each) => each.checked) + by + radios.length) % radios.length];
  next.focus();
  next.click();
}

/** @param {Element} element */
function fade(element) {
  element.classList.add("labkit-gone");
  setTimeout(() => element.remove(), FADE);
}

/**
 * @param {Element} element
 * @param {string} name
 */
function mark(element, name) {
  element.classList.add(name);
  setTimeout(() => element.classList.remove(name), MARKED);
}

/**
 * @param {Element} parent
 * @param {string} tag
 * @param {string} name
 */
function child(parent, tag, name) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  parent.append(element);
  return element;
}
