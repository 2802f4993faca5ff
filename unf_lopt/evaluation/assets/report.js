"use strict";
// Reads the curves under the pointer, or at a cursor that the arrow keys move.
for (const figure of document.querySelectorAll("figure[data-readable]")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const svg = figure.querySelector("svg");
  const cursor = svg.querySelector(".cursor");
  const values = figure.querySelectorAll(".legend .value");
  const reading = figure.querySelector(".reading");
  const rest = reading.textContent;
  let place = data.pixels.length - 1;

  const show = (value) => (value === null ? "–" : Number(value).toPrecision(3));
  const read = (at) => {
    place = Math.max(0, Math.min(data.pixels.length - 1, at));
    cursor.setAttribute("x1", data.pixels[place]);
    cursor.setAttribute("x2", data.pixels[place]);
    cursor.style.visibility = "visible";
    values.forEach((own, row) => { own.textContent = show(data.values[row][place]); });
    reading.textContent = `${data.unit} ${data.places[place]}`;
  };
  const forget = () => {
    cursor.style.visibility = "hidden";
    values.forEach((own, row) => { own.textContent = show(data.rest[row]); });
    reading.textContent = rest;
    place = data.pixels.length - 1;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const away = data.pixels.map((pixel) => Math.abs(pixel - x));
    read(away.indexOf(Math.min(...away)));
  });
  svg.addEventListener("pointerleave", forget);
  svg.addEventListener("blur", forget);
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: Infinity };
    if (!(event.key in moves)) return;
    event.preventDefault();
    read(moves[event.key]);
  });
}
