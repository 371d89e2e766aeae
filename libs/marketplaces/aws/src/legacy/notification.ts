import { fieldsOf, isFields, textOf } from '../liberal.js';

/** What AWS says of a legacy listing over SNS (contract aws §4.2). Ids are trimmed: a sample of AWS has a stray blank. */
export interface LegacyNotification {
  action: string;
  customerIdentifier: string;
  productCode: string;
  offerId: string | null;
  /** The flag is a text, "true" or "false". */
  isFreeTrial: boolean | null;
}

export function legacyNotificationOf(text: string): LegacyNotification | null {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isFields(raw)) return null;
  const fields = fieldsOf(raw);
  const [action, customerIdentifier, productCode] = [
    textOf(fields['action']),
    textOf(fields['customer-identifier']),
    textOf(fields['product-code']),
  ];
  if (!action || !customerIdentifier || !productCode) return null;
  const trial = textOf(fields['isFreeTrialTermPresent']);
  return {
    action,
    customerIdentifier,
    productCode,
    offerId: textOf(fields['offer-identifier']),
    isFreeTrial: trial === 'true' ? true : trial === 'false' ? false : null,
  };
}
