// The terminals' colours: JupyterLab's, and 16 for programs, which xterm.js keeps readable on them.

const LIGHT = {
  black: "#24292e", red: "#b31d28", green: "#176f2c", yellow: "#805600", blue: "#0b5cad", magenta: "#7b3fb5",
  cyan: "#0f6674", white: "#5c6670", brightBlack: "#57606a", brightRed: "#a40e26", brightGreen: "#116329",
  brightYellow: "#6f4e00", brightBlue: "#0550ae", brightMagenta: "#6639ba", brightCyan: "#0a5a66", brightWhite: "#24292e",
  selectionBackground: "#b3d7ff",
};
const DARK = {
  black: "#8b949e", red: "#ff7b72", green: "#56d364", yellow: "#e3b341", blue: "#79c0ff", magenta: "#d2a8ff",
  cyan: "#56d4dd", white: "#c9d1d9", brightBlack: "#9aa4ae", brightRed: "#ffa198", brightGreen: "#7ee787",
  brightYellow: "#f2cc60", brightBlue: "#a5d6ff", brightMagenta: "#e2c5ff", brightCyan: "#a6e9ee", brightWhite: "#ffffff",
  selectionBackground: "#264f78",
};

/** @param {Element} element */
export function currentTheme(element) {
  const said = document.body.dataset.jpThemeLight;
  const dark = said ? said === "false" : matchMedia("(prefers-color-scheme: dark)").matches;
  const style = getComputedStyle(element);
  const colour = (/** @type {string} */ name, /** @type {string} */ otherwise) =>
    style.getPropertyValue(name).trim() || otherwise;
  const background = colour("--jp-layout-color0", dark ? "#111111" : "#ffffff");
  const foreground = dark ? "#e6e6e6" : "#1a1a1a";
  return { ...(dark ? DARK : LIGHT), background, foreground, cursor: foreground, cursorAccent: background };
}

/**
 * Call `use` with the theme of `element` each time the page's changes.
 * @param {HTMLElement} element
 * @param {AbortSignal} signal
 * @param {(theme: ReturnType<typeof currentTheme>) => void} use
 */
export function followTheme(element, signal, use) {
  const change = () => {
    const said = document.body.dataset.jpThemeLight;
    const dark = said ? said === "false" : matchMedia("(prefers-color-scheme: dark)").matches;
    element.classList.toggle("labkit-dark", dark);
    use(currentTheme(element));
  };
  // The attribute changes before the theme's style sheet is there: look once more when that is loaded.
  const observer = new MutationObserver(() => {
    change();
    requestAnimationFrame(() => setTimeout(change, 100));
  });
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
  document.head.addEventListener("load", change, { capture: true, signal }); // a style sheet
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", change, { signal });
  signal.addEventListener("abort", () => observer.disconnect());
  change();
}
