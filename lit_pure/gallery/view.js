"use strict";
// Which part of a picture is visible. A View is a position and a zoom; any number of panes show the same view, each at
// its own size, so that all of them move together. Knows nothing of methods or votes.

const MAX_SCALE = 32; // screen pixels per picture pixel
const STEP = 1.5; // factor of a zoom button
const SHARP_FROM = 2; // screen pixels per picture pixel from which pixels are drawn as squares

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The visible part: around the point (x, y), in fractions of the picture's sides, at `zoom` times the fitting size. */
class View {
  constructor() {
    this.panes = [];
    this.reset();
  }

  reset() {
    Object.assign(this, { x: 0.5, y: 0.5, zoom: 1 });
    this.draw();
  }

  /** Switch to another picture: the same part stays visible if it has the size of the picture before. */
  turnTo({ width, height }) {
    if (width !== this.width || height !== this.height) this.reset();
    Object.assign(this, { width, height });
  }

  draw() {
    for (const pane of this.panes) pane.draw();
    this.changed?.();
  }

  /** The pane to which the percentage refers: the first visible one. */
  get leading() {
    return this.panes.find((pane) => pane.seen);
  }

  /** Screen pixels per picture pixel. */
  get scale() {
    return this.leading ? this.leading.fit * this.zoom : 1;
  }

  /** Change the zoom by a factor; the point (left, top) of the pane keeps showing the same place. */
  zoomBy(factor, pane = this.leading, left = pane?.box.clientWidth / 2, top = pane?.box.clientHeight / 2) {
    if (!pane) return;
    const before = pane.place();
    const zoom = clamp(this.zoom * factor, Math.min(1, 1 / pane.fit), Math.max(1, MAX_SCALE / pane.fit));
    const ratio = zoom / this.zoom;
    this.zoom = zoom;
    // The point stays, so the distance from it to the middle of the pane shrinks, in picture units, by the ratio.
    this.move(
      (left - before.left + (pane.box.clientWidth / 2 - left) / ratio) / before.width,
      (top - before.top + (pane.box.clientHeight / 2 - top) / ratio) / before.height,
      pane,
    );
  }

  /** One picture pixel is one screen pixel. */
  oneToOne() {
    if (this.leading) this.zoomBy(1 / this.scale);
  }

  /** Move to the point (x, y), as far as the picture reaches. */
  move(x, y, pane) {
    const within = (at, seen) => (seen >= 1 ? 0.5 : clamp(at, seen / 2, 1 - seen / 2));
    this.x = within(x, pane.box.clientWidth / (pane.width * pane.fit * this.zoom));
    this.y = within(y, pane.box.clientHeight / (pane.height * pane.fit * this.zoom));
    this.draw();
  }
}

/** A box with pictures on top of each other, all at the same position. */
class Pane {
  /** `grab(event)` may take over a pointer: it returns a handler for its moves, or null. */
  constructor(box, view, layers = 1, grab = () => null) {
    Object.assign(this, { box, view, grab, width: 1, height: 1, pointers: new Map() });
    this.images = Array.from({ length: layers }, () => document.createElement("img"));
    const boxes = this.images.map((image) => {
      const layer = document.createElement("div");
      layer.className = "layer";
      layer.append(image);
      return layer;
    });
    box.prepend(...boxes); // below what the box contains already; the last one is on top
    view.panes.push(this);
    box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    box.addEventListener("pointerdown", (event) => this.down(event));
    box.addEventListener("pointermove", (event) => this.moved(event));
    for (const end of ["pointerup", "pointercancel"]) {
      box.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    new ResizeObserver(() => view.draw()).observe(box);
  }

  get seen() {
    return this.box.clientWidth > 0;
  }

  /** Screen pixels per picture pixel at which the whole picture is visible. */
  get fit() {
    return Math.min(this.box.clientWidth / this.width, this.box.clientHeight / this.height);
  }

  /** Show sources, one per layer; null leaves a layer empty. Resolves when they are visible. */
  show(sources, width, height, names) {
    Object.assign(this, { width, height });
    this.box.style.setProperty("--ratio", `${width} / ${height}`);
    const waits = sources.map((source, index) => {
      const image = this.images[index];
      image.hidden = !source;
      image.alt = names[index];
      if (!source) return null;
      image.src = source;
      return image.decode().catch(() => null); // another picture replaced it
    });
    this.draw();
    return Promise.all(waits);
  }

  /** Position and size of the picture in the box [screen pixels]. */
  place() {
    const along = (box, side, at) => {
      const length = side * this.fit * this.view.zoom;
      const start = length <= box ? (box - length) / 2 : clamp(box / 2 - at * length, box - length, 0);
      return [start, length];
    };
    const [left, width] = along(this.box.clientWidth, this.width, this.view.x);
    const [top, height] = along(this.box.clientHeight, this.height, this.view.y);
    return { left, top, width, height };
  }

  draw() {
    if (!this.seen) return;
    const { left, top, width, height } = this.place();
    const sharp = width / this.width >= SHARP_FROM;
    for (const image of this.images) {
      image.style.transform = `translate(${left}px, ${top}px)`;
      image.style.width = `${width}px`;
      image.style.height = `${height}px`;
      image.classList.toggle("sharp", sharp);
    }
    this.box.classList.toggle("movable", width > this.box.clientWidth + 1 || height > this.box.clientHeight + 1);
  }

  at(event) {
    const bounds = this.box.getBoundingClientRect();
    return { left: event.clientX - bounds.left, top: event.clientY - bounds.top };
  }

  wheel(event) {
    event.preventDefault();
    const { left, top } = this.at(event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 30;
    this.view.zoomBy(Math.exp(clamp(-event.deltaY * lines, -400, 400) / 500), this, left, top);
  }

  down(event) {
    if (event.button !== 0) return;
    this.box.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { ...this.at(event), grabbed: this.grab(event) });
  }

  moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { ...this.at(event), grabbed: before.grabbed };
    this.pointers.set(event.pointerId, now);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) this.pinch(before, now, other);
    else if (before.grabbed) before.grabbed(event);
    else this.pan(now.left - before.left, now.top - before.top);
  }

  pan(right, down) {
    const { width, height } = this.place();
    this.view.move(this.view.x - right / width, this.view.y - down / height, this);
  }

  pinch(before, now, other) {
    const distance = (one) => Math.hypot(one.left - other.left, one.top - other.top);
    if (distance(before) > 0) this.view.zoomBy(distance(now) / distance(before), this, other.left, other.top);
  }
}
