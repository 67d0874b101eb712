/* Plotly's slider answers to the mouse only.  Above each figure that has one stands the browser's own, which the
   keyboard moves and a screen reader reads; the two move together. */
window.addEventListener("load", () => {
  for (const figure of document.querySelectorAll(".plotly-graph-div")) {
    const steps = figure.layout && figure.layout.sliders && figure.layout.sliders[0].steps;
    if (!steps) continue;
    const told = document.createElement("output");
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: 0, max: steps.length - 1, value: 0, id: `${figure.id}-range` });
    const label = document.createElement("label");
    Object.assign(label, { htmlFor: slider.id, textContent: "Layer" });
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
    const line = document.createElement("div");
    line.className = "layer-slider";
    line.append(label, slider, told);
    figure.before(line);
    figure.setAttribute("role", "group");
    figure.setAttribute("aria-label", "Pictures of the layers");
  }
});
