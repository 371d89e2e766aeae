import { randomBytes } from 'node:crypto';
import type { AwsContext } from '../context.js';
import { AwsError, xmlOf } from '../errors.js';
import type { Operation } from '../service-scope.js';
import type { AwsCredential } from '../settings.js';
import type { Sessions } from '../sigv4.js';

const LIFE_SECONDS = 3_600;

/** The seller's role, taken by a process of another account (contract aws §10). Lives are real time. */
export class Roles implements Sessions {
  constructor(private readonly context: AwsContext) {}

  find(accessKeyId: string, token: string, realNowMs: number): AwsCredential | undefined {
    const session = this.context.state.sessions.get(accessKeyId);
    if (!session || session.token !== token || session.expiresAtMs <= realNowMs) return undefined;
    const { secretAccessKey, accountId } = session;
    return { accessKeyId, secretAccessKey, accountId, denied: [] };
  }

  operations(): Record<string, Operation> {
    return {
      AssumeRole: (input, caller) => {
        const { roles } = this.context.settings();
        const [arn, name] = [input['RoleArn'], input['RoleSessionName']];
        if (typeof arn !== 'string' || typeof name !== 'string' || !/^[\w+=,.@-]{2,64}$/.test(name))
          throw new AwsError('ValidationException', 'RoleArn and RoleSessionName are required.');
        const role = roles.find((one) => one.arn === arn);
        // One answer for a role that is not there, does not trust, or wants another external id: nothing can be found out.
        if (!role?.trusted.includes(caller.credential.accessKeyId) || (role.externalId !== null && role.externalId !== input['ExternalId']))
          throw new AwsError('AccessDeniedException', `User is not authorized to perform: sts:AssumeRole on resource: ${arn}`);
        const seconds = Number(input['DurationSeconds'] ?? LIFE_SECONDS);
        if (!Number.isInteger(seconds) || seconds < 900 || seconds > 43_200)
          throw new AwsError('ValidationException', 'DurationSeconds must be between 900 and 43200.');
        const accountId = /^arn:aws:iam::(\d{12}):/.exec(arn)![1]!;
        const session = {
          accessKeyId: `ASIA${randomBytes(8).toString('hex').toUpperCase()}`,
          secretAccessKey: randomBytes(30).toString('base64'),
          token: randomBytes(120).toString('base64'),
          accountId,
          expiresAtMs: Date.now() + seconds * 1_000,
        };
        this.context.state.sessions.put(session.accessKeyId, session);
        const expiration = new Date(session.expiresAtMs).toISOString().replace(/\.\d+Z$/, 'Z');
        return `<AssumedRoleUser><Arn>${xmlOf(`arn:aws:sts::${accountId}:assumed-role/${arn.split('/').pop()}/${name}`)}</Arn><AssumedRoleId>AROASANDBOX:${xmlOf(name)}</AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>${session.accessKeyId}</AccessKeyId><SecretAccessKey>${session.secretAccessKey}</SecretAccessKey><SessionToken>${session.token}</SessionToken><Expiration>${expiration}</Expiration></Credentials>`;
      },
    };
  }
}
