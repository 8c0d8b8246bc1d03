"use strict";

// Tables: a click on a heading sorts by it, a second click turns the order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") !== "descending" && head.classList.contains("number")
      || head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");  // what has no value stays below
      const [p, q] = [Number(x), Number(y)];
      const order = Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y) : p - q;
      return descending ? -order : order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));
}

// Players: all versions of an excerpt start at one instant of one clock, and one of them is heard.
// Audio comes in script files, because pages opened from a disk may not fetch.
const waiting = new Map();
const arrived = new Map();  // a mixture stands in several players, and is fetched once
window.sepexpAudio = (file, data) => waiting.get(file)?.(data);

function fetchAudio(file) {
  if (!arrived.has(file)) arrived.set(file, loadScript(file));
  return arrived.get(file);
}

function loadScript(file) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    waiting.set(file, (data) => {
      waiting.delete(file);
      script.remove();
      resolve(Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)).buffer);
    });
    script.onerror = () => {
      arrived.delete(file);
      reject(new Error(`${file} is missing beside the page`));
    };
    script.src = file;
    document.head.append(script);
  });
}

let context = null;
let playing = null;

class Player {
  constructor(element) {
    this.element = element;
    this.files = JSON.parse(element.dataset.files);
    this.duration = Number(element.dataset.duration);
    this.chosen = 0;
    this.offset = 0;
    this.started = null;
    this.buffers = null;
    this.playButton = element.querySelector(".play");
    this.buttons = [...element.querySelectorAll("button.version")];
    this.canvas = element.querySelector("canvas");
    this.clock = element.querySelector(".time");
    this.playButton.addEventListener("click", () => this.toggle());
    this.buttons.forEach((button, index) => button.addEventListener("click", () => this.choose(index)));
    this.canvas.addEventListener("click", (event) => {
      const box = this.canvas.getBoundingClientRect();
      this.seek(this.duration * (event.clientX - box.left) / box.width);
    });
    element.addEventListener("keydown", (event) => {
      const digit = Number(event.key);
      if (digit >= 1 && digit <= this.buttons.length) this.choose(digit - 1);
      if (event.key === "ArrowLeft") this.seek(this.position() - 2);
      if (event.key === "ArrowRight") this.seek(this.position() + 2);
    });
    this.show();
  }

  async load() {
    context ??= new AudioContext();
    this.buffers ??= Promise.all(
      this.files.map(async (file) => context.decodeAudioData((await fetchAudio(file)).slice(0))));
    return this.buffers;
  }

  position() {
    if (this.started === null) return this.offset;
    return Math.max(0, Math.min(this.duration, this.offset + context.currentTime - this.started));
  }

  async toggle() {
    if (this.started !== null) return this.stop();
    this.playButton.disabled = true;
    try {
      this.decoded = await this.load();
      await context.resume();
      this.start();
    } catch (error) {
      this.buffers = null;
      this.clock.textContent = `can't play: ${error.message}`;
    }
    this.playButton.disabled = false;
  }

  start() {
    playing?.stop();
    playing = this;
    if (this.position() >= this.duration - 0.05) this.offset = 0;
    this.started = context.currentTime + 0.05;
    this.gains = this.decoded.map((buffer, index) => {
      const gain = new GainNode(context, { gain: index === this.chosen ? 1 : 0 });
      gain.connect(context.destination);
      return gain;
    });
    this.nodes = this.decoded.map((buffer, index) => {
      const node = new AudioBufferSourceNode(context, { buffer });
      node.connect(this.gains[index]);
      node.start(this.started, this.offset);
      return node;
    });
    this.nodes[0].onended = () => this.started !== null && this.position() >= this.duration - 0.05 && this.stop();
    this.playButton.textContent = "❚❚ Pause";
    this.frame();
  }

  stop() {
    if (this.started === null) return;
    this.offset = this.position();
    this.started = null;
    for (const node of this.nodes) { node.onended = null; node.stop(); }
    for (const gain of this.gains) gain.disconnect();
    playing = null;
    this.playButton.textContent = "▶ Play";
    this.show();
  }

  choose(index) {
    if (this.started !== null) {
      // a few milliseconds of cross-fade, so that the switch itself isn't heard as a click
      this.gains[this.chosen].gain.setTargetAtTime(0, context.currentTime, 0.004);
      this.gains[index].gain.setTargetAtTime(1, context.currentTime, 0.004);
    }
    this.chosen = index;
    this.show();
  }

  seek(seconds) {
    const on = this.started !== null;
    if (on) this.stop();
    this.offset = Math.max(0, Math.min(this.duration, seconds));
    if (on) this.start();
    this.show();
  }

  frame() {
    if (this.started === null) return;
    this.show();
    requestAnimationFrame(() => this.frame());
  }

  show() {
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", index === this.chosen));
    this.clock.textContent = `${this.position().toFixed(1)} / ${this.duration.toFixed(1)} s`;
    this.draw();
  }

  draw() {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const scale = window.devicePixelRatio || 1;
    if (!width) return;
    if (this.canvas.width !== Math.round(width * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
    }
    const style = getComputedStyle(document.documentElement);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const shapes = JSON.parse(this.buttons[this.chosen].dataset.shape);
    const played = this.position() / this.duration;
    shapes.forEach((level, index) => {
      const at = index / shapes.length;
      pen.fillStyle = style.getPropertyValue(at < played ? "--accent" : "--soft");
      const tall = Math.max(1, level * (height - 4));
      pen.fillRect(at * width, (height - tall) / 2, Math.max(1, width / shapes.length - 0.5), tall);
    });
  }
}

window.sepexp = {
  players: [...document.querySelectorAll(".player")].map((element) => new Player(element)),
  context: () => context,
};
addEventListener("resize", () => window.sepexp.players.forEach((player) => player.draw()));
