import { ProblemError, type TaskListRow, type Tx } from '#platform';
import type { Principal } from '#tenancy';
import type { ProcessContext } from './context.js';

/** A person has mended what a task failed of: it runs again from its first attempt, and what told of its lane is settled. */
export async function releaseParked(p: ProcessContext, tx: Tx, taskId: string, by: Principal): Promise<TaskListRow> {
  const released = await p.tasks.release(tx, taskId);
  if (released === 'unknown') throw new ProblemError('not_found', 'task.not_found', 'There is no such task, or it was done long ago.');
  if (released === 'not_parked') throw new ProblemError('conflict', 'task.not_parked', 'Only a parked task can be released.');
  const findings = await tx.query<{ finding_id: string }>(
    `select finding_id from findings where kind = 'lane_parked' and settlement is null and evidence ->> 'taskId' = $1`,
    [taskId],
  );
  for (const { finding_id: findingId } of findings)
    await p.metering.settleFinding(tx, {
      findingId,
      words: { kind: 'release', actor: by.keyId, reason: 'the task was released to run again' },
    });
  await p.audit.record(tx, {
    tenantId: null,
    actor: `${by.kind}:${by.keyId}`,
    action: 'task.released',
    subject: `task:${taskId}`,
    detail: { lane: released.lane, handler: released.handler },
  });
  return released;
}
