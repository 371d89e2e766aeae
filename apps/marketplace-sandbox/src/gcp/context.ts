import type { VirtualClock } from '../shared/clock.js';
import type { Faults } from '../shared/faults.js';
import type { GcpSettings } from './settings.js';
import type { GcpState } from './state.js';

/** What every part of the Google play needs. */
export interface GcpContext {
  readonly clock: VirtualClock;
  readonly state: GcpState;
  readonly faults: Faults;
  readonly settings: () => GcpSettings;
}
