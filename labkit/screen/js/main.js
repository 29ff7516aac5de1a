// The page side of labkit.screen: one view of a lab's terminals and mount table.
import xtermCss from "@xterm/xterm/css/xterm.css";

import { Link } from "./link.js";
import { Pane } from "./pane.js";
import css from "./style.css";
import { Table } from "./table.js";
import { followTheme } from "./theme.js";

const STYLE = "labkit-screen-style";

/** @param {{model: any, el: HTMLElement}} view */
function render({ model, el }) {
  if (!document.getElementById(STYLE)) {
    const style = document.createElement("style");
    style.id = STYLE;
    style.textContent = xtermCss + css;
    document.head.append(style);
  }
  const end = new AbortController();
  const root = document.createElement("div");
  root.className = "labkit-screen";
  // JupyterLab's own keys (d d, Escape, Shift-Enter, arrows) are not for the notebook here. Most of its selectors end in
  // :focus and match the focused element itself, so each must say so, not only the root.
  root.addEventListener("focusin", ({ target }) => suppress(target), { signal: end.signal });
  suppress(root);
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "the lab's screen");
  const notice = add(root, "div", "labkit-notice");
  notice.setAttribute("role", "status");
  notice.textContent = "Waiting for the notebook's kernel …";
  const panesElement = add(root, "div", "labkit-panes");
  const tools = add(root, "div", "labkit-tools");
  tools.hidden = true; // until there is a terminal
  const tableElement = add(root, "div", "labkit-table");
  const said = add(root, "div", "labkit-said");
  said.setAttribute("role", "log");
  said.setAttribute("aria-live", "polite");
  el.append(root);

  /** @type {Map<string, Pane>} */
  const panes = new Map();
  const table = new Table(tableElement, end.signal);
  const link = new Link(model, end.signal, {
    terminals: (told) => {
      notice.textContent = told.lab;
      if (model.get("shows") === "table") return;
      for (const each of told.terminals) {
        let pane = panes.get(each.name);
        if (!pane) {
          pane = new Pane(panesElement, each, link, readers);
          panes.set(each.name, pane);
          tools.hidden = false;
        }
        pane.tell(each);
      }
    },
    output: (message, bytes) => panes.get(message.terminal)?.output(message, bytes),
    table: (message) => table.tell(message),
    say: (text) => {
      said.textContent = text;
    },
    ended: (text) => {
      notice.textContent = text;
      for (const pane of panes.values()) pane.end(text);
      table.end();
    },
  });

  const readers = { on: false };
  const button = add(tools, "button", "");
  button.textContent = "screen reader";
  button.title = "Let a screen reader follow what the terminals print";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener(
    "click",
    () => {
      readers.on = !readers.on;
      button.setAttribute("aria-pressed", String(readers.on));
      for (const pane of panes.values()) pane.terminal.options.screenReaderMode = readers.on;
    },
    { signal: end.signal },
  );
  const hint = add(tools, "span", "labkit-hint");
  hint.textContent = "Enter goes into a terminal, Shift+Tab out of it, Escape back to the notebook.";

  followTheme(root, end.signal, (theme) => {
    for (const pane of panes.values()) pane.terminal.options.theme = theme;
  });
  root.addEventListener("keydown", (event) => leave(event, root), { signal: end.signal });
  // A page that is loaded again ends no view: without this the kernel would wait for one that is gone.
  window.addEventListener("pagehide", () => link.bye(), { signal: end.signal });
  link.hello();

  return () => {
    link.bye();
    end.abort();
    for (const pane of panes.values()) pane.dispose();
    root.remove();
  };
}

/** @param {EventTarget | null} element */
function suppress(element) {
  if (element instanceof HTMLElement) element.dataset.lmSuppressShortcuts = "true";
}

/**
 * Escape, anywhere but in a terminal, leaves the screen for the cell that it stands in.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} root
 */
function leave(event, root) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.key !== "Escape" || target.closest(".xterm")) return;
  const outside = /** @type {HTMLElement | null} */ (root.closest(".jp-Notebook") ?? root.closest("[tabindex]"));
  target.blur();
  outside?.focus();
}

/**
 * @param {HTMLElement} parent
 * @param {string} tag
 * @param {string} name
 */
function add(parent, tag, name) {
  const element = document.createElement(tag);
  element.className = name;
  parent.append(element);
  return element;
}

export default { render };
