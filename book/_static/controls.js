/* Plotly's own slider and menu answer to the mouse only.  Above each figure that has one stands the browser's, which
   the keyboard moves and a screen reader reads.  A slider and Plotly's move together; a menu takes Plotly's place. */
window.addEventListener("load", () => {
  for (const figure of document.querySelectorAll(".plotly-graph-div")) {
    const { sliders, updatemenus } = figure.layout || {};
    if (sliders) addSlider(figure, sliders[0].steps);
    if (updatemenus) addMenu(figure, updatemenus[0].buttons, figure.layout.meta);
  }
});

function addSlider(figure, steps) {
  const told = document.createElement("output");
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: steps.length - 1, value: 0 });
  const say = (place) => {
    told.textContent = steps[place].label;
    slider.setAttribute("aria-valuetext", steps[place].label);
  };
  slider.addEventListener("input", () => {
    const place = Number(slider.value);
    say(place);
    Plotly.animate(figure, ...steps[place].args);
    Plotly.relayout(figure, { "sliders[0].active": place });
  });
  figure.on("plotly_sliderchange", (change) => {
    slider.value = change.slider.active;
    say(change.slider.active);
  });
  say(0);
  putAbove(figure, "Layer", slider, told);
  figure.setAttribute("aria-label", "Pictures of the layers");
}

/* A figure may say in its layout's `meta` what is chosen and what it is. */
function addMenu(figure, buttons, { choose = "Shown", says = "Heat map" } = {}) {
  const menu = document.createElement("select");
  menu.append(...buttons.map((button) => new Option(button.label)));
  menu.addEventListener("change", () => Plotly.update(figure, ...buttons[menu.selectedIndex].args));
  putAbove(figure, choose, menu);
  figure.setAttribute("aria-label", says);
}

function putAbove(figure, text, control, ...more) {
  control.id = `${figure.id}-control`;
  const label = Object.assign(document.createElement("label"), { htmlFor: control.id, textContent: text });
  const line = Object.assign(document.createElement("div"), { className: "figure-control" });
  line.append(label, control, ...more);
  figure.parentElement.before(line); // that one has the figure's height, and no room for more
  figure.setAttribute("role", "group");
}
