import type { BerthConfig, Clock, GuardedHttp, Logger } from '#platform';
import type { MarketplaceAdapter } from '#marketplaces/core';
import { createAwsAdapter } from '#marketplaces/aws';
import { createAzureAdapter } from '#marketplaces/azure';
import { createGcpAdapter } from '#marketplaces/gcp';

/** The adapters of the marketplaces that are configured. */
export function makeAdapters(config: BerthConfig, deps: { http: GuardedHttp; clock: Clock; logger: Logger }): MarketplaceAdapter[] {
  const adapters: MarketplaceAdapter[] = [];
  if (config.azure) adapters.push(createAzureAdapter(config.azure, deps));
  if (config.aws) adapters.push(createAwsAdapter(config.aws, deps));
  if (config.gcp) adapters.push(createGcpAdapter(config.gcp, deps));
  return adapters;
}
