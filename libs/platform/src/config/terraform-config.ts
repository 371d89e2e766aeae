import { resolve } from 'node:path';
import { z } from 'zod';
import { pairsOf } from './pairs.js';

/** Names in `BERTH_SHAPE_DRIVERS`. */
const DRIVERS = ['local', 'terraform', 'manual'] as const;

export const terraformVariables = {
  /** Path or name of the program; unset takes `terraform`, else `tofu`, from PATH. */
  BERTH_TERRAFORM: z.string().optional(),
  /** A folder of providers (`terraform providers mirror`); without it, modules have the built-in one only. */
  BERTH_TERRAFORM_PROVIDERS: z.string().optional(),
  /** One cell takes 110 to 160 MB. */
  BERTH_TERRAFORM_CELLS: z.coerce.number().int().min(0).max(1_000).default(8),
  /** Versions of a cluster's state that are kept whatever their age, and days that every one is kept. */
  BERTH_TERRAFORM_STATES: z.coerce.number().int().min(1).max(10_000).default(50),
  BERTH_TERRAFORM_STATE_DAYS: z.coerce.number().int().min(1).max(3_660).default(90),
};

export interface TerraformConfig {
  readonly binary: string | null;
  /** Where programs are looked for. */
  readonly searchPath: string;
  readonly providerMirror: string | null;
  readonly maxCells: number;
  readonly keepStates: number;
  readonly stateDays: number;
}

interface Read {
  readonly BERTH_TERRAFORM?: string | undefined;
  readonly BERTH_TERRAFORM_PROVIDERS?: string | undefined;
  readonly BERTH_TERRAFORM_CELLS: number;
  readonly BERTH_TERRAFORM_STATES: number;
  readonly BERTH_TERRAFORM_STATE_DAYS: number;
}

export const terraformOf = (e: Read, given: Record<string, string | undefined>): TerraformConfig => ({
  binary: e.BERTH_TERRAFORM ?? null,
  searchPath: given['PATH'] ?? '',
  providerMirror: e.BERTH_TERRAFORM_PROVIDERS ? resolve(e.BERTH_TERRAFORM_PROVIDERS) : null,
  maxCells: e.BERTH_TERRAFORM_CELLS,
  keepStates: e.BERTH_TERRAFORM_STATES,
  stateDays: e.BERTH_TERRAFORM_STATE_DAYS,
});

/** `cell-large=terraform, cell=local`. */
export const shapeDriversOf = (text: string | undefined): Record<string, string> => Object.fromEntries(pairsOf(text));

export function shapeDriverFaults(text: string | undefined): string[] {
  const wrong = pairsOf(text).some(([shape, driver]) => shape === '' || !DRIVERS.some((known) => known === driver));
  return wrong ? [`BERTH_SHAPE_DRIVERS: each must be a shape, followed by = and one of ${DRIVERS.join(', ')}`] : [];
}
