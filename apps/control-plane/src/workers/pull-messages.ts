import { errorText, type Logger } from '#platform';
import { subscriptionIdOf, subscriptionLane } from '#entitlements';
import type { ProcessContext } from '../processes/context.js';

/**
 * Starts every adapter that pulls its messages. A message is acknowledged only after its inbox row and its task have been
 * committed: a crash in between brings it again, and the inbox key makes that harmless.
 */
export async function startPulling(p: ProcessContext, logger: Logger): Promise<{ stop(): Promise<void> }> {
  const running: { stop(): Promise<void> }[] = [];
  for (const adapter of p.marketplaces.all()) {
    if (!adapter.pull) continue;
    const { marketplace } = adapter;
    running.push(
      await adapter.pull(async (message) => {
        await p.db.ops(async (tx) => {
          const { externalSubscriptionId, ...rest } = message;
          const row = await p.inbox.receive(tx, { ...rest, contentType: 'application/json' });
          if (!row.fresh) return;
          const lane = externalSubscriptionId
            ? subscriptionLane(subscriptionIdOf(marketplace, externalSubscriptionId))
            : `inbox:${row.inboxId}`;
          await p.tasks.enqueue(tx, { lane, handler: 'inbound.normalise', payload: { inboxId: row.inboxId, marketplace } });
        });
      }),
    );
  }
  return {
    stop: async () => {
      for (const one of running)
        await one.stop().catch((error: unknown) => logger.warn({ err: errorText(error) }, 'pulling did not stop cleanly'));
    },
  };
}

/** What is wrong with the way messages should reach us, once per start and in the background: nothing else would show it. */
export async function logBootChecks(p: ProcessContext, logger: Logger): Promise<void> {
  for (const adapter of p.marketplaces.all()) {
    for (const { check, result, detail, remedy } of (await adapter.bootChecks?.().catch(() => [])) ?? []) {
      if (result === 'warn' || result === 'fail') logger.warn({ marketplace: adapter.marketplace, check, result, remedy }, detail);
    }
  }
}
