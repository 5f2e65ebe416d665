const slotMs = 250;
const slotCount = 120;
const speedWindowMs = 5_000;

/**
 * Bytes per second as people should see it: over the last 5 s, and 0 when nothing comes. The 30 s average is steadier
 * and serves the remaining time. Keeps a fixed number of slots whatever happens.
 */
export class SpeedWindow {
  readonly #slots = new Float64Array(slotCount);
  #latest = -1;
  #first = -1;

  add(bytes: number, nowMs: number): void {
    const slot = this.#moveTo(nowMs);
    const index = slot % slotCount;
    this.#slots[index] = (this.#slots[index] ?? 0) + bytes;
  }

  bytesPerSecond(nowMs: number): number {
    return this.#over(speedWindowMs, nowMs);
  }

  averageBytesPerSecond(nowMs: number): number {
    return this.#over(slotMs * slotCount, nowMs);
  }

  #moveTo(nowMs: number): number {
    const slot = Math.floor(nowMs / slotMs);
    if (this.#first < 0) this.#first = slot;
    if (slot > this.#latest) {
      const from = Math.max(this.#latest + 1, slot - slotCount + 1);
      for (let passed = from; passed <= slot; passed += 1) this.#slots[passed % slotCount] = 0;
      this.#latest = slot;
    }
    return Math.max(slot, this.#latest);
  }

  #over(windowMs: number, nowMs: number): number {
    if (this.#first < 0) return 0;
    const slot = this.#moveTo(nowMs);
    const slots = Math.min(windowMs / slotMs, slotCount);
    let bytes = 0;
    for (let back = 0; back < slots; back += 1) bytes += slot - back >= 0 ? (this.#slots[(slot - back) % slotCount] ?? 0) : 0;
    // A transfer that has just begun is measured over the time it has run, but not over a time too short to mean anything.
    const elapsedMs = Math.min(windowMs, Math.max(1000, (slot - this.#first + 1) * slotMs));
    return Math.round((bytes * 1000) / elapsedMs);
  }
}
