/** The manual driver: the only door. */
export { ManualDriver } from './manual.driver.js';
export { ManualWork } from './manual-work.js';
export type { ManualStepView } from './manual-work.js';
export { ODM_STEPS } from './options.js';
export type { ManualDriverOptions, Site, StepTemplate, StepTemplates } from './options.js';
