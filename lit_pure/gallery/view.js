"use strict";
// What part of a picture is seen. A View is a place and a zoom; any number of panes show the same one, each at its own
// size, so that all of them move together. Knows nothing of methods or votes.

const MOST = 32; // screen pixels per picture pixel
const STEP = 1.5; // of a zoom button
const SHARP_FROM = 2; // so many screen pixels per picture pixel, and pixels are shown as squares

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Where one looks: the point (x, y) of the picture, in shares of its sides, at `zoom` times the size that fits. */
class View {
  constructor() {
    this.panes = [];
    this.reset();
  }

  reset() {
    Object.assign(this, { x: 0.5, y: 0.5, zoom: 1 });
    this.draw();
  }

  /** Another picture: the same part of it is seen, if it is of the size of the one before. */
  turnTo({ width, height }) {
    if (width !== this.width || height !== this.height) this.reset();
    Object.assign(this, { width, height });
  }

  draw() {
    for (const pane of this.panes) pane.draw();
    this.changed?.();
  }

  /** The pane that the percentage speaks of: the first that can be seen. */
  get leading() {
    return this.panes.find((pane) => pane.seen);
  }

  /** Screen pixels per picture pixel. */
  get scale() {
    return this.leading ? this.leading.fit * this.zoom : 1;
  }

  /** Change the zoom by a factor; what is below the point (left, top) of the pane stays there. */
  zoomBy(factor, pane = this.leading, left = pane?.box.clientWidth / 2, top = pane?.box.clientHeight / 2) {
    if (!pane) return;
    const before = pane.place();
    const zoom = clamp(this.zoom * factor, Math.min(1, 1 / pane.fit), Math.max(1, MOST / pane.fit));
    const ratio = zoom / this.zoom;
    this.zoom = zoom;
    // The middle of the pane lies this far from the point, which stays: so much less of the picture when it grows.
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

  /** Look at the point (x, y), as far as the picture reaches. */
  move(x, y, pane) {
    const within = (at, seen) => (seen >= 1 ? 0.5 : clamp(at, seen / 2, 1 - seen / 2));
    this.x = within(x, pane.box.clientWidth / (pane.width * pane.fit * this.zoom));
    this.y = within(y, pane.box.clientHeight / (pane.height * pane.fit * this.zoom));
    this.draw();
  }
}

/** A box with pictures above each other, all of the same place. */
class Pane {
  /** `grab(event)` may take a pointer for itself: it gives what to do when that moves, or nothing. */
  constructor(box, view, layers = 1, grab = () => null) {
    Object.assign(this, { box, view, grab, width: 1, height: 1, pointers: new Map() });
    this.images = Array.from({ length: layers }, () => document.createElement("img"));
    const boxes = this.images.map((image) => {
      const layer = document.createElement("div");
      layer.className = "layer";
      layer.append(image);
      return layer;
    });
    box.prepend(...boxes); // below what the box holds already; the last one lies on top
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

  /** Screen pixels per picture pixel where the whole picture is seen. */
  get fit() {
    return Math.min(this.box.clientWidth / this.width, this.box.clientHeight / this.height);
  }

  /** Show sources, one a layer; null leaves a layer empty. Resolves when they can be seen. */
  show(sources, width, height, names) {
    Object.assign(this, { width, height });
    this.box.style.setProperty("--ratio", `${width} / ${height}`);
    const waits = sources.map((source, index) => {
      const image = this.images[index];
      image.hidden = !source;
      image.alt = names[index];
      if (!source) return null;
      image.src = source;
      return image.decode().catch(() => null); // another picture came in its place
    });
    this.draw();
    return Promise.all(waits);
  }

  /** Where the picture lies in the box [screen pixels]. */
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
    const apart = (one) => Math.hypot(one.left - other.left, one.top - other.top);
    if (apart(before) > 0) this.view.zoomBy(apart(now) / apart(before), this, other.left, other.top);
  }
}
