import type { Clock } from '../clock.js';

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  constructor(private at: Date) {}
  now(): Date { return new Date(this.at); }
  set(at: Date | string): void { this.at = new Date(at); }
  advance(ms: number): void { this.at = new Date(this.at.getTime() + ms); }
}
