import type { AwsContext } from './context.js';
import { AwsError } from './errors.js';
import { licenseArn } from './licence-arn.js';
import type { Lifecycle } from './lifecycle.js';
import type { AwsCaller } from './sigv4.js';

/** Contract aws §2. A product with concurrent agreements has no CustomerIdentifier, a legacy one no LicenseArn. */
export function resolveCustomer(context: AwsContext, lifecycle: Lifecycle, caller: AwsCaller, input: Record<string, unknown>): object {
  const settings = context.settings();
  const token = input['RegistrationToken'];
  if (token === undefined || token === null)
    throw new AwsError(
      'ValidationException',
      "1 validation error detected: Value null at 'registrationToken' failed to satisfy constraint: Member must not be null",
    );
  if (typeof token !== 'string') throw new AwsError('SerializationException', 'RegistrationToken is not a string.');
  const found = context.state.findToken(token);
  const agreement = found && context.state.agreements.get(found.agreementId);
  const legacy = found && context.state.legacy.get(found.agreementId);
  // Only the account that published the product may resolve (contract aws §2).
  if (!found || (!agreement && !legacy) || caller.accountId !== settings.sellerAccountId)
    throw new AwsError('InvalidTokenException', 'The registration token is invalid.');
  if (context.clock.nowMs() >= Date.parse(found.expiresAt))
    throw new AwsError('ExpiredTokenException', 'The submitted registration token has expired.');
  if (found.isUsed && !settings.tokenReusable)
    throw new AwsError('ExpiredTokenException', 'The submitted registration token has expired: it was submitted before.');
  context.state.useToken(token);
  // A legacy listing has no licence (contract aws §2).
  if (!agreement)
    return { ProductCode: legacy!.productCode, CustomerIdentifier: legacy!.customerIdentifier, CustomerAWSAccountId: legacy!.accountId };
  lifecycle.resolved(agreement);
  return {
    ProductCode: agreement.productCode,
    CustomerAWSAccountId: agreement.buyerAccountId,
    LicenseArn: licenseArn(settings, agreement.licenseId),
  };
}
