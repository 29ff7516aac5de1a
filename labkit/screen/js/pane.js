// One terminal: its badge, and xterm.js on the bytes of its PTY.
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";

import { currentTheme } from "./theme.js";

/** @typedef {import("./link.js").TerminalTold} TerminalTold */

const ACKNOWLEDGE = 65536; // bytes drawn between two acknowledgements: each costs the kernel as much as a key

// CAN and ESC c, behind all that waits to be drawn. reset() would go before it, and leave a half sequence open.
const RESET = Uint8Array.of(0x18, 0x1b, 0x63);

export class Pane {
  /**
   * @param {HTMLElement} parent
   * @param {TerminalTold} told
   * @param {import("./link.js").Link} link
   * @param {{on: boolean}} readers
   */
  constructor(parent, told, link, readers) {
    this.name = told.name;
    this.link = link;
    this.stream = -1;
    this.next = 0; // offset of the byte that comes next
    this.drawn = 0;
    this.acknowledged = 0;
    this.lost = true; // until the first replay
    this.replaying = 0;

    this.element = document.createElement("section");
    this.element.className = "labkit-pane";
    this.element.setAttribute("aria-label", `terminal ${told.name}`);
    this.head = document.createElement("div");
    this.head.className = "labkit-badge";
    this.head.tabIndex = 0;
    this.head.setAttribute("role", "button");
    this.label = this.part("labkit-label");
    this.title = this.part("labkit-name");
    this.title.textContent = told.name;
    this.namespace = this.part("labkit-inode");
    this.process = this.part("labkit-process");
    this.cwd = this.part("labkit-cwd");
    this.state = this.part("labkit-state");
    this.screen = document.createElement("div");
    this.screen.className = "labkit-xterm";
    this.over = document.createElement("div");
    this.over.className = "labkit-over";
    this.over.setAttribute("role", "status");
    this.element.append(this.head, this.screen, this.over);
    parent.append(this.element);

    this.terminal = new Terminal({
      cols: told.columns,
      rows: told.rows,
      scrollback: 5000,
      fontFamily: getComputedStyle(parent).getPropertyValue("--jp-code-font-family").trim() || "monospace",
      fontSize: 13,
      minimumContrastRatio: 4.5,
      screenReaderMode: readers.on,
      theme: currentTheme(parent),
      cursorBlink: false,
    });
    this.fit = new FitAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.open(this.screen);
    this.keepQuiet();
    for (const each of [this.terminal.element, this.terminal.textarea]) if (each) each.tabIndex = -1;
    this.terminal.textarea?.setAttribute("aria-label", `terminal ${told.name}`);
    this.terminal.attachCustomKeyEventHandler((event) => this.key(event));
    this.terminal.onData((data) => this.type("keys", data));
    this.terminal.onBinary((data) => this.type("bytes", data));
    this.head.addEventListener("click", () => this.terminal.focus());
    this.head.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      setTimeout(() => this.terminal.focus()); // not while this key is on its way
    });
    this.observer = new ResizeObserver(() => requestAnimationFrame(() => this.room()));
    this.observer.observe(this.screen);
  }

  /** @param {string} name */
  part(name) {
    const element = document.createElement("span");
    element.className = name;
    this.head.append(element);
    return element;
  }

  /**
   * What a program asks the terminal (who are you, where is the cursor?) is answered by one view only, and not
   * again when its question is replayed: the answer would be typed into the shell. And a link that a program prints
   * is text: xterm.js would open it.
   */
  keepQuiet() {
    const quiet = () => this.replaying > 0 || !this.link.speaks;
    const { parser } = this.terminal;
    for (const final of ["c", "n"])
      for (const prefix of [undefined, "?", ">", "="]) parser.registerCsiHandler({ prefix, final }, quiet);
    for (const intermediates of ["$"])
      for (const prefix of [undefined, "?"]) parser.registerCsiHandler({ prefix, intermediates, final: "p" }, quiet);
    parser.registerCsiHandler({ final: "t" }, quiet);
    parser.registerDcsHandler({ intermediates: "$", final: "q" }, quiet);
    for (const number of [4, 10, 11, 12])
      parser.registerOscHandler(number, (data) => data.includes("?") && quiet());
    parser.registerOscHandler(8, () => true);
  }

  /**
   * @param {"keys" | "bytes"} type
   * @param {string} data
   */
  type(type, data) {
    if (this.replaying > 0 && /^\x1b\[[IO]$/.test(data)) return; // whether it has the focus, asked of it long ago
    this.link.send({ type, terminal: this.name, data });
  }

  /**
   * Whether xterm.js takes the key: as in JupyterLab's own terminal, Ctrl-C copies where something is selected, and Ctrl-V
   * pastes. Shift-Tab leaves.
   * @param {KeyboardEvent} event
   */
  key(event) {
    if (event.key === "Tab" && event.shiftKey) {
      if (event.type === "keydown") {
        event.preventDefault();
        this.head.focus();
      }
      return false;
    }
    const letter = event.ctrlKey && !event.altKey && !event.metaKey ? event.key.toLowerCase() : "";
    if (letter === "c" && (event.shiftKey || this.terminal.hasSelection())) {
      if (event.type === "keydown") {
        const text = this.terminal.getSelection();
        if (text) document.execCommand("copy");
        if (event.shiftKey) event.preventDefault(); // the browser's own tools
        else this.terminal.clearSelection();
      }
      return false;
    }
    return letter !== "v"; // the browser then pastes
  }

  /** The pane has another size: so shall the PTY, or where that is no more, what it has printed. */
  room() {
    if (!this.screen.clientWidth || this.stream < 0) return;
    const size = this.fit.proposeDimensions();
    if (!size || !Number.isFinite(size.cols) || !Number.isFinite(size.rows)) return;
    const [columns, rows] = [Math.max(2, size.cols), Math.max(2, size.rows)];
    if (columns === this.terminal.cols && rows === this.terminal.rows) return;
    if (this.over.textContent) this.terminal.resize(columns, rows);
    else this.link.send({ type: "size", terminal: this.name, columns, rows });
  }

  /** @param {TerminalTold} told */
  tell(told) {
    const fresh = told.stream !== this.stream;
    if (fresh) {
      this.lost = this.link.version < 0; // a new shell begins at 0, but a new page waits for the replay
      this.stream = told.stream;
      this.next = this.drawn = this.acknowledged = 0;
      this.terminal.write(RESET);
    }
    if (!told.ended && (told.columns !== this.terminal.cols || told.rows !== this.terminal.rows))
      this.terminal.resize(told.columns, told.rows);
    if (fresh) requestAnimationFrame(() => this.room());
    this.label.textContent = told.label;
    this.label.style.background = told.colour || "transparent";
    this.label.title = told.label && `namespace ${told.label}`;
    this.namespace.textContent = told.inode ? `mnt:[${told.inode}]` : "";
    this.process.textContent = told.process ? `${told.process} ${told.pid}` : "";
    this.process.title = told.process && `foreground process ${told.process}, pid ${told.pid} in the lab`;
    this.cwd.textContent = told.cwd;
    this.cwd.title = told.cwd;
    this.state.textContent = told.cell ? "a cell is typing" : told.state === "running" ? "running" : "";
    this.element.classList.toggle("labkit-cell", told.cell);
    const where = told.label ? `, in namespace ${told.label}` : "";
    this.head.setAttribute("aria-label", `terminal ${told.name}${where}, ${told.process}; Enter to type in it`);
    this.end(told.ended);
  }

  /** @param {string} text why nothing can be typed any more, or "" */
  end(text) {
    if (this.over.textContent !== text) {
      this.over.textContent = text;
      requestAnimationFrame(() => this.room());
    }
    this.element.classList.toggle("labkit-ended", text !== "");
  }

  /**
   * @param {import("./link.js").OutputTold} told
   * @param {Uint8Array} bytes
   */
  output(told, bytes) {
    if (told.stream !== this.stream) return;
    if (told.replay) {
      this.lost = false;
      this.terminal.write(RESET);
      this.next = this.drawn = this.acknowledged = told.offset;
      if (told.lost) this.terminal.write(`[${told.lost} bytes before this are not kept]\r\n`);
    }
    if (this.lost) return;
    if (told.offset > this.next) {
      this.lost = true;
      this.link.hello();
      return;
    }
    bytes = bytes.slice(this.next - told.offset);
    const end = this.next + bytes.length;
    this.next = end;
    if (told.replay) this.replaying += 1;
    const stream = this.stream;
    this.terminal.write(bytes, () => {
      if (told.replay) this.replaying -= 1;
      if (stream !== this.stream) return;
      this.drawn = Math.max(this.drawn, end);
      if (this.drawn - this.acknowledged >= ACKNOWLEDGE) {
        this.acknowledged = this.drawn;
        this.link.send({ type: "ack", terminal: this.name, stream, offset: this.drawn });
      }
    });
  }

  dispose() {
    this.observer.disconnect();
    this.terminal.dispose();
    this.element.remove();
  }
}
