/** The local driver: the only door. */
export { LocalDriver } from './local.driver.js';
export { defaultCellEntry, defaultCellsProgram, LOCAL_CAPABILITIES } from './options.js';
export type { LocalDriverOptions } from './options.js';
export type { ClockTarget, IngestTarget } from './wire.js';
