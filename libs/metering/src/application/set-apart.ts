import { mayPass } from '#platform';

/** So many purchases of one hour of a shard that cannot close are no accident of theirs: something of ours is broken. */
const MANY = 16;

export interface SetApart {
  /** What the attempts that came about answered, added up. */
  done: number;
  /** Who was in the way, and of what its attempt failed. */
  culprits: Map<string, unknown>;
}

/**
 * Tries what fails as a whole in halves, until those that are in the way stand alone and all others have gone through. Fails with the
 * last error when they are too many, and with a failure that may pass as it comes: neither says anything of those that were tried.
 */
export async function setApart(ids: readonly string[], attempt: (ids: readonly string[]) => Promise<number>): Promise<SetApart> {
  const apart: SetApart = { done: 0, culprits: new Map() };
  const part = async (some: readonly string[]): Promise<void> => {
    try {
      apart.done += await attempt(some);
      return;
    } catch (error) {
      if (mayPass(error)) throw error;
      if (some.length === 1) {
        apart.culprits.set(some[0]!, error);
        if (apart.culprits.size > MANY) throw error;
        return;
      }
    }
    const middle = Math.ceil(some.length / 2);
    await part(some.slice(0, middle));
    await part(some.slice(middle));
  };
  if (ids.length > 0) await part(ids);
  return apart;
}
