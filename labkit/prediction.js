// The page side of labkit.prediction: a question, and one choice of several.

/** @param {{model: any, el: HTMLElement}} view */
function render({ model, el }) {
  const end = new AbortController();
  const form = document.createElement("fieldset");
  form.style.cssText = "border: 0; margin: 0; padding: 2px 0; color: var(--jp-content-font-color1, inherit)";
  const legend = document.createElement("legend");
  legend.textContent = model.get("question");
  legend.style.cssText = "font-weight: bold; padding: 0";
  form.append(legend);
  const group = `labkit-${Math.random()}`; // each view has its own
  const inputs = model.get("choices").map((/** @type {string} */ text) => {
    const label = document.createElement("label");
    label.style.cssText = "display: block; width: max-content; max-width: 100%; padding: 3px 0; cursor: pointer";
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: group, value: text });
    input.addEventListener("change", () => choose(text), { signal: end.signal });
    label.append(input, ` ${text}`);
    form.append(label);
    return input;
  });

  /** @param {string} text */
  function choose(text) {
    model.set("chosen", text);
    model.save_changes();
  }

  function draw() {
    for (const input of inputs) {
      input.checked = input.value === model.get("chosen");
      input.disabled = model.get("decided");
    }
  }

  // The arrow keys choose; JupyterLab would go to another cell. Escape gives its keys back.
  form.addEventListener(
    "focusin",
    ({ target }) => {
      /** @type {HTMLElement} */ (target).dataset.lmSuppressShortcuts = "true";
    },
    { signal: end.signal },
  );
  form.addEventListener(
    "keydown",
    ({ key }) => {
      if (key === "Escape") /** @type {HTMLElement | null} */ (form.closest(".jp-Notebook"))?.focus();
    },
    { signal: end.signal },
  );
  model.on("change:chosen change:decided", draw);
  draw();
  el.append(form);
  return () => {
    end.abort();
    model.off("change:chosen change:decided", draw);
  };
}

export default { render };
