import { type Handshake, MarketplaceUnknown, type StoredInbound } from '#marketplaces/core';
import { type ApiClient, failureOf } from './api-client.js';
import { knownAction, operationOf } from './operations.js';
import type { AzureReader } from './reader.js';
import type { AzureSettings } from './settings.js';

/**
 * In the older reading a subscription stays Suspended until its Reinstate is patched with Success (contract azure §0.5, §4); in
 * the newer one there is nothing to say. Safe to repeat: only an operation that still waits is answered.
 */
export function reinstateHandshake(message: StoredInbound, settings: AzureSettings, api: ApiClient, reader: AzureReader): Handshake | null {
  if (settings.reinstate !== 'patch') return null;
  let told;
  try {
    told = operationOf(JSON.parse(message.body));
  } catch {
    return null;
  }
  const [id, operationId] = [told?.externalSubscriptionId, told?.operationId];
  if (!told || knownAction(told.action) !== 'reinstate' || !id || !operationId) return null;
  return {
    operation: 'acceptReinstate',
    externalSubscriptionId: id,
    intent: { externalSubscriptionId: id, externalOperationId: operationId },
    run: async () => {
      const waits = async (): Promise<boolean> => {
        const read = await reader.operation(id, operationId);
        return read !== null && knownAction(read.action) === 'reinstate' && read.status === 'pending';
      };
      // A webhook alone proves nothing: what the marketplace does not have on record is not answered.
      if (!(await waits())) return { answered: false };
      const answer = await api.call({
        method: 'PATCH',
        path: `/saas/subscriptions/${id}/operations/${operationId}`,
        body: JSON.stringify({ status: 'Success' }),
        timeoutMs: settings.timeoutsMs.write,
        changes: true,
        operation: 'answerOperation',
      });
      if (answer.status >= 200 && answer.status < 300) return { answered: true };
      if (await waits()) throw new MarketplaceUnknown(failureOf('answerOperation', answer, true).message);
      return { answered: true };
    },
  };
}
