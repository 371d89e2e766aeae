import { eachHeld } from './measure-gauge.js';
import { bySegment, NO_SEGMENT, segmentAt, type Measuring, type Trace } from './measure-parts.js';
import type { StreamSamples, StreamState } from './types.js';

/** What changes at an instant: of the total, of how many streams are known, and of how many are carried on or in a gap. */
interface Step {
  value: bigint;
  known: number;
  unsure: number;
}
/** A total, and since when and until when it held. */
interface Level {
  segmentId: string;
  from: bigint;
  to: bigint;
  total: bigint;
  unsure: boolean;
}

/**
 * An hour of a meter that counts a level and not time: `max` the largest total that all streams had together at one moment, `latest`
 * the total at the end (ADR 0023). It is one amount an hour, however many segments the hour has: a segment adds what its own time
 * raises the peak by, and the last one has the latest total, so that no cut bills the same thing twice. Time that bills nobody has
 * a peak and an end of its own.
 */
export class LevelHour {
  private readonly steps = new Map<bigint, Step>();

  constructor(
    private readonly kind: 'max' | 'latest',
    private readonly hour: Measuring,
  ) {}

  /** Adds a stream; answers the sample that its next hour begins with. */
  add(stream: StreamSamples, opening: StreamState | null): StreamState | null {
    const { meter, segments, end, slot, onGap } = this.hour;
    const last = eachHeld(stream, opening, this.hour, (from, to, value, kind) => {
      const change = kind === 'gap' ? { value: 0n, known: 0, unsure: 1 } : { value, known: 1, unsure: kind === 'estimated' ? 1 : 0 };
      this.step(from, to, change);
      if (kind !== 'measured') for (const part of bySegment(from, to, segments)) slot(part.segmentId).quality = 'estimated';
      if (kind === 'gap') onGap(to - from);
    });
    // What has left the purchase is known to be nothing from then on.
    if (stream.until !== null && stream.until < end) {
      const from = stream.until > meter.hourStart ? stream.until : meter.hourStart;
      this.step(from, end, { value: 0n, known: 1, unsure: 0 });
    }
    return last;
  }

  /** Puts the hour's amounts where they belong. */
  measure(tell: Trace | undefined): void {
    const put = (level: Level, amount: bigint): void => {
      const s = this.hour.slot(level.segmentId);
      if (level.unsure) s.quality = 'estimated';
      s[level.unsure ? 'estimated' : 'measured'] += amount;
      tell?.({ ...level, value: level.total, amount, kind: level.unsure ? 'estimated' : 'measured' });
    };
    const levels = this.levels();
    if (this.kind === 'max') {
      const peaks = new Map<string, bigint>();
      for (const level of levels) {
        const whose = this.whose(level.segmentId);
        const peak = peaks.get(whose) ?? 0n;
        if (level.total <= peak) continue;
        put(level, level.total - peak);
        peaks.set(whose, level.total);
      }
      return;
    }
    const latest = new Map<string, Level>();
    for (const level of levels) latest.set(this.whose(level.segmentId), level);
    for (const [whose, level] of latest) {
      // Time of the same kind after it in which nothing is known: it may have been another by the end.
      const silent = bySegment(level.to, this.hour.end, this.hour.segments).some((part) => this.whose(part.segmentId) === whose);
      put({ ...level, unsure: level.unsure || silent }, level.total);
    }
  }

  private step(from: bigint, to: bigint, change: Step): void {
    for (const [at, sign] of [
      [from, 1],
      [to, -1],
    ] as const) {
      const step = this.steps.get(at) ?? { value: 0n, known: 0, unsure: 0 };
      step.value += BigInt(sign) * change.value;
      step.known += sign * change.known;
      step.unsure += sign * change.unsure;
      this.steps.set(at, step);
    }
  }

  /** The totals of the hour in order of time, cut at the segments; without the time of which nothing is known. */
  private levels(): Level[] {
    const edges = new Set(this.steps.keys());
    for (const s of this.hour.segments) for (const cut of [s.startsAt, s.endsAt]) if (cut !== null) edges.add(cut);
    const ordered = [...edges].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    const levels: Level[] = [];
    let total = 0n;
    let [known, unsure] = [0, 0];
    ordered.forEach((from, i) => {
      const step = this.steps.get(from);
      if (step) [total, known, unsure] = [total + step.value, known + step.known, unsure + step.unsure];
      const to = ordered[i + 1];
      if (known > 0 && to !== undefined)
        levels.push({ segmentId: segmentAt(from, this.hour.segments), from, to, total, unsure: unsure > 0 });
    });
    return levels;
  }

  /** Time that is billed, time that is not, and time outside the purchase do not speak for one another. */
  private whose(segmentId: string): string {
    if (segmentId === NO_SEGMENT) return NO_SEGMENT;
    const s = this.hour.segments.find((x) => x.segmentId === segmentId)!;
    return s.terms && (s.billable || s.terms.billableWhileSuspended) ? 'billed' : 'not billed';
  }
}
