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
    /** @type {HTMLTableCellElement | undefined} the one that Tab goes to */
    this.current = undefined;

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
    this.count = child(bar, "span", "labkit-count");
    const scroll = child(element, "div", "labkit-scroll");
    const table = child(scroll, "table", "");
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", "mounts, and which namespaces see them");
    this.head = /** @type {HTMLTableRowElement} */ (child(child(table, "thead", ""), "tr", ""));
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
    const back = this.place();
    this.draw(false);
    this.restore(back);
  }

  /** The kernel has ended: what stands here is the past. */
  end() {
    this.element.classList.add("labkit-ended");
  }

  /** @param {import("./link.js").TableTold} told with base 0: the whole table */
  tell(told) {
    const whole = told.base === 0;
    const labels = (/** @type {ColumnTold[]} */ columns) => columns.map((column) => column.label).join(" ");
    const others = labels(this.columns) !== labels(told.columns);
    const words = JSON.stringify(this.columns) !== JSON.stringify(told.columns);
    this.columns = told.columns;
    this.element.classList.remove("labkit-ended");
    if (whole) this.rows.clear();
    for (const number of told.removed) this.rows.delete(number);
    /** @type {Map<number, RowTold>} */
    const changed = new Map();
    for (const row of told.rows) {
      const before = this.rows.get(row.row);
      if (before) changed.set(row.row, before);
      this.rows.set(row.row, row);
    }
    const back = this.place();
    if (whole || words) this.name();
    if (whole || others) this.begin();
    else if (words) this.entitle();
    this.draw(!whole, changed);
    this.restore(back);
  }

  /** The fields of these columns. */
  name() {
    this.fields = [
      { field: "mount_point", head: "mount point" },
      ...this.columns.map((namespace) => ({ field: "seen", head: namespace.label, namespace })),
      { field: "fstype", head: "type" },
      { field: "source", head: "source" },
      { field: "options", head: "options" },
      { field: "propagation", head: "propagation" },
      { field: "peer_group", head: "peer group" },
    ];
  }

  /** Other columns: all rows are drawn anew. */
  begin() {
    this.drawn.clear();
    this.body.replaceChildren();
    this.head.replaceChildren(
      ...this.fields.map(({ head, namespace }) => {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.tabIndex = -1;
        if (namespace) {
          const label = child(cell, "span", "labkit-label");
          label.textContent = head;
          label.style.background = namespace.colour;
          child(cell, "span", "labkit-who");
        } else cell.textContent = head;
        return cell;
      }),
    );
    this.entitle();
  }

  /** Who is in which namespace, in the heads. */
  entitle() {
    this.fields.forEach(({ head, namespace }, index) => {
      const cell = this.head.cells[index];
      const who = cell.querySelector(".labkit-who");
      if (!namespace || !who) return;
      who.textContent = namespace.terminals.join(", ") || namespace.process;
      cell.setAttribute("aria-label", `seen in namespace ${head}, ${who.textContent}`);
    });
  }

  /** Where in the table Tab goes to, and whether the focus is there. Rows come and go, and so do columns. */
  place() {
    const cell = this.current;
    const line = cell?.parentElement;
    const field = cell && this.fields[cell.cellIndex];
    return {
      focused: cell !== undefined && cell === document.activeElement,
      row: line && line !== this.head ? Number(line.dataset.row) : undefined,
      column: field && (field.namespace?.label ?? field.field),
    };
  }

  /** @param {ReturnType<Table["place"]>} back */
  restore({ focused, row, column }) {
    /** @type {HTMLTableRowElement | undefined} */
    let line = this.head;
    if (row !== undefined) {
      // The same row; where it has gone, the next one, or the last.
      const left = [...this.drawn.keys()].sort((a, b) => a - b);
      const number = left.find((each) => each >= row) ?? left.at(-1);
      if (number !== undefined) line = this.drawn.get(number);
    }
    const index = this.fields.findIndex((each) => (each.namespace?.label ?? each.field) === column);
    const cell = line?.cells[Math.max(0, index)];
    if (!cell) return;
    this.aim(cell);
    if (focused && cell !== document.activeElement) cell.focus({ preventScroll: true });
  }

  /**
   * Let Tab go to this cell.
   * @param {HTMLTableCellElement} cell
   */
  aim(cell) {
    if (this.current) this.current.tabIndex = -1;
    this.current = cell;
    cell.tabIndex = 0;
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
      cell.dataset.field = field.field;
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
    this.aim(cell);
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
    const lines = [this.head, ...this.body.rows];
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
  cell.replaceChildren(...text.split(/(?<=,)/).flatMap((part) => [part, document.createElement("wbr")]));
  if (namespace) cell.className = sees ? "labkit-yes" : "labkit-no";
  else cell.title = text;
  return true;
}

/** @type {WeakMap<Element, ReturnType<typeof setTimeout>>} when the mark of an element goes */
const marks = new WeakMap();

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
  clearTimeout(marks.get(element));
  marks.set(element, setTimeout(() => element.classList.remove(name), MARKED));
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
