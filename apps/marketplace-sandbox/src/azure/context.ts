import type { VirtualClock } from '../shared/clock.js';
import type { Faults } from '../shared/faults.js';
import type { AzureSettings } from './settings.js';
import type { AzureState } from './state.js';

/** What every part of the Azure play needs. */
export interface AzureContext {
  readonly clock: VirtualClock;
  readonly state: AzureState;
  readonly faults: Faults;
  readonly settings: () => AzureSettings;
}
