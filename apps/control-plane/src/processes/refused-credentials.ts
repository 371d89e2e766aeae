import { MarketplaceRefusal, type Marketplace } from '#marketplaces/core';
import { credentialsRefused } from '#metering';
import type { ProcessContext } from './context.js';

/** Our credentials are refused (401, 403): true of every call, so no purchase is parked for it; a person is told. */
export const isAboutUs = (error: unknown): boolean =>
  error instanceof MarketplaceRefusal && (error.httpStatus === 401 || error.httpStatus === 403);

/** Tells a person, once a marketplace and day, where the failure is about our credentials; answers whether it was. */
export async function alarmIfAboutUs(p: ProcessContext, marketplace: Marketplace, error: unknown): Promise<boolean> {
  if (!(error instanceof MarketplaceRefusal) || !isAboutUs(error)) return false;
  await p.db.ops((tx) => p.metering.raiseFinding(tx, credentialsRefused(marketplace, p.clock.now(), error.message)));
  return true;
}
