/**
 * What the engine does next follows from the class alone (contract provisioning §4.3):
 * - `throttled`: back off and repeat the same operation id;
 * - `conflict`: read again and plan again (stale plan, lower fencing token, older generation);
 * - `permission`, `quota`, `validation`: stop, a person is needed;
 * - `unknown`: the effect may have happened: `observe` first, never a blind repeat of a create;
 * - `unsupported`: this driver cannot do it; the engine should have asked `capabilities`.
 */
export type DriverErrorClass = 'throttled' | 'conflict' | 'permission' | 'quota' | 'validation' | 'unknown' | 'unsupported';

/** A driver error as data, for a stored result. */
export interface DriverErrorShape {
  readonly class: DriverErrorClass;
  /** Stable dotted code, for example `plan.stale`. */
  readonly code: string;
  /** One plain sentence for an operator; never a secret. */
  readonly detail: string;
}

/** A refused or failed driver call. */
export class DriverError extends Error implements DriverErrorShape {
  override readonly name = 'DriverError';

  constructor(
    readonly errorClass: DriverErrorClass,
    readonly code: string,
    readonly detail: string,
  ) {
    super(`${code}: ${detail}`);
  }

  /** The same as `errorClass`, under the name the stored shape has. */
  get class(): DriverErrorClass {
    return this.errorClass;
  }

  toShape(): DriverErrorShape {
    return { class: this.errorClass, code: this.code, detail: this.detail };
  }
}

/** Any thrown thing as a driver error. What a driver did not expect has an unknown outcome by definition. */
export function toDriverError(thrown: unknown): DriverError {
  if (thrown instanceof DriverError) return thrown;
  return new DriverError('unknown', 'driver.unexpected', thrown instanceof Error ? thrown.message : String(thrown));
}
