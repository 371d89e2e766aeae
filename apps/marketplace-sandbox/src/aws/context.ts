import type { VirtualClock } from '../shared/clock.js';
import type { Faults } from '../shared/faults.js';
import type { AwsSettings } from './settings.js';
import type { AwsState } from './state.js';

/** What every part of the AWS play needs. */
export interface AwsContext {
  readonly clock: VirtualClock;
  readonly state: AwsState;
  readonly faults: Faults;
  readonly settings: () => AwsSettings;
}
