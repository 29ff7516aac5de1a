// The messages between this view and the notebook's kernel; labkit/screen/feed.py is the other side.

/**
 * @typedef {{name: string, stream: number, columns: number, rows: number, state: string, cell: boolean, label: string,
 *   colour: string, inode: number, process: string, pid: number, cwd: string, ended: string}} TerminalTold
 * @typedef {{terminals: TerminalTold[], lab: string, speaker: string}} TerminalsTold
 * @typedef {{terminal: string, stream: number, offset: number, replay: boolean, lost: number, view: string}} OutputTold
 * @typedef {{label: string, colour: string, inode: number, terminals: string[], process: string}} ColumnTold
 * @typedef {{row: number, kit: boolean, mount_point: string, fstype: string, source: string, options: string,
 *   propagation: string, peer_group: string, seen: string[]}} RowTold
 * @typedef {{view: string, version: number, base: number, columns: ColumnTold[], rows: RowTold[], removed: number[]}} TableTold
 * @typedef {{terminals: (told: TerminalsTold) => void, output: (told: OutputTold, bytes: Uint8Array) => void,
 *   table: (told: TableTold) => void, say: (text: string) => void, ended: (text: string) => void}} Receivers
 */

const PATIENCE = 5000; // milliseconds until it is said that the kernel does not answer
const SILENT = "The notebook's kernel does not answer. If it has ended, so has the lab: run the cell with Lab() again.";
const DEAD = "The notebook's kernel has ended, and the lab with it. Run the cell with Lab() again to start a new one.";

export class Link {
  /**
   * @param {any} model of anywidget
   * @param {AbortSignal} signal
   * @param {Receivers} receivers
   */
  constructor(model, signal, receivers) {
    this.view = crypto.randomUUID?.() ?? String(Math.random());
    this.model = model;
    this.signal = signal;
    this.receivers = receivers;
    /** Does this view answer what a program asks the terminal? One of several must. */
    this.speaks = false;
    this.version = -1;
    this.waiting = 0;
    const receive = (/** @type {any} */ content, /** @type {DataView[]} */ buffers) => this.receive(content, buffers);
    const ended = () => this.end();
    model.on("msg:custom", receive);
    model.on("comm_live_update", ended);
    signal.addEventListener("abort", () => {
      model.off("msg:custom", receive);
      model.off("comm_live_update", ended);
      clearTimeout(this.waiting);
    });
  }

  /** I am new here, or have lost something: send me all. */
  hello() {
    this.version = -1;
    clearTimeout(this.waiting);
    this.waiting = window.setTimeout(() => this.receivers.ended(SILENT), PATIENCE);
    this.send({ type: "hello" });
  }

  bye() {
    this.send({ type: "bye" });
  }

  end() {
    clearTimeout(this.waiting);
    this.receivers.ended(DEAD);
  }

  /** @param {Record<string, unknown>} content */
  send(content) {
    if (this.signal.aborted) return; // drawn after the farewell: this view is no more
    try {
      this.model.send({ ...content, view: this.view });
    } catch {
      this.end(); // the comm is closed
    }
  }

  /**
   * @param {any} content
   * @param {DataView[]} buffers
   */
  receive(content, buffers) {
    if (content.view && content.view !== this.view) return;
    switch (content.type) {
      case "terminals":
        clearTimeout(this.waiting);
        this.speaks = content.speaker === this.view;
        this.receivers.terminals(content);
        break;
      case "output": {
        const view = buffers[0];
        this.receivers.output(content, new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
        break;
      }
      case "table":
        if (!content.view && this.version < 0) return; // before our own whole one
        if (!content.view && content.base !== this.version) {
          this.hello();
          return;
        }
        this.version = content.version;
        this.receivers.table({ ...content, base: content.view ? 0 : 1 });
        break;
      case "say":
        this.receivers.say(content.text);
    }
  }
}
