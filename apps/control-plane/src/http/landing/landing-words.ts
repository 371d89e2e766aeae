import type { Marketplace } from '#marketplaces/core';
import type { Progress, SetupStep } from '#provisioning/engine';

/** What a buyer reads while the storage is set up. Buyers buy storage and an endpoint: what it is made of stays unsaid. */
export interface StepWords {
  /** Stable; a client may branch on it. */
  readonly code: string;
  readonly stage: Stage;
  readonly title: string;
  readonly message: string;
  /** Completes "Waiting for …". */
  readonly awaited: string;
}

export const STAGES = ['planning', 'creating', 'access', 'testing', 'activating'] as const;
export type Stage = (typeof STAGES)[number];

const MARKETPLACE_NAME: Record<Marketplace, string> = {
  azure: 'Azure Marketplace',
  gcp: 'Google Cloud Marketplace',
  aws: 'AWS Marketplace',
};

export const stageTitle = (stage: Stage, marketplace: Marketplace): string =>
  ({
    planning: 'Planning',
    creating: 'Creating your storage',
    access: 'Setting up your access',
    testing: 'Testing it with a real write and read',
    activating: `Activating at ${MARKETPLACE_NAME[marketplace]}`,
  })[stage];

const STEP_WORDS: Record<SetupStep, StepWords> = {
  preflight: {
    code: 'setup.checking',
    stage: 'planning',
    title: 'Planning your storage',
    message: 'We check that all that your storage needs is available in your region.',
    awaited: 'the checks to pass',
  },
  plan: {
    code: 'setup.planning',
    stage: 'planning',
    title: 'Planning your storage',
    message: 'We work out what has to be created for you.',
    awaited: 'the plan to be ready',
  },
  apply: {
    code: 'setup.creating',
    stage: 'creating',
    title: 'Creating your storage',
    message: 'Your storage is being created and started.',
    awaited: 'your storage to start',
  },
  configure: {
    code: 'setup.access',
    stage: 'access',
    title: 'Setting up your access',
    message: 'Your account, its keys and the limits of your plan are being put in place.',
    awaited: 'your keys and limits to be in force',
  },
  validate: {
    code: 'setup.testing',
    stage: 'testing',
    title: 'Testing your storage',
    message: 'We write a small object through your endpoint and read it back, as your programs will. It costs you nothing.',
    awaited: 'the write and the read to succeed',
  },
};

const QUEUED: StepWords = {
  code: 'setup.queued',
  stage: 'planning',
  title: 'Your order is in line',
  message: 'We have your details and begin in a moment.',
  awaited: 'its turn',
};

/** For a step that has no words: true of every step. */
export const NEUTRAL: StepWords = {
  code: 'setup.working',
  stage: 'creating',
  title: 'Preparing your storage',
  message: 'We are setting up your storage.',
  awaited: 'this step to end',
};

export function stepWords(step: string | null): StepWords {
  if (step === null) return QUEUED;
  return Object.hasOwn(STEP_WORDS, step) ? STEP_WORDS[step as SetupStep] : NEUTRAL;
}

/** It serves, and the purchase is not active yet: who has to act, and that it is not the buyer. */
export function activatingWords(marketplace: Marketplace): StepWords {
  const name = MARKETPLACE_NAME[marketplace];
  const marketplaceDoes: Record<Marketplace, string> = {
    azure: `We have told ${name} to activate your subscription.`,
    gcp: `${name} activates your order now.`,
    aws: `${name} confirms your subscription now.`,
  };
  return {
    code: 'setup.activating',
    stage: 'activating',
    title: `Waiting for ${name}`,
    message: `Your storage works. ${marketplaceDoes[marketplace]} There is nothing you have to do.`,
    awaited: `the answer of ${name}`,
  };
}

/** The details are here, and the purchase is not confirmed: nothing is set up before that (contract aws §11.2). */
export function unconfirmedWords(marketplace: Marketplace): StepWords {
  const name = MARKETPLACE_NAME[marketplace];
  return {
    code: 'setup.unconfirmed',
    stage: 'planning',
    title: `Waiting for ${name}`,
    message: `We have your details. ${name} has not confirmed your purchase yet, usually it does within minutes, and we begin by ourselves then. There is nothing you have to do.`,
    awaited: `the confirmation of ${name}`,
  };
}

/** It never came into force. The marketplaces do not tell why; an unpaid order is the usual reason (contract aws §4.2). */
export function voidedWords(marketplace: Marketplace): Failure {
  const name = MARKETPLACE_NAME[marketplace];
  return {
    code: 'purchase.called_off',
    detail: `${name} called this purchase off before it came into force. Mostly the payment did not go through.`,
    remedy: `Look at your payment method on ${name} and buy the product again there. Have you just done so? Then open this page again from ${name} in a few minutes.`,
  };
}

/** We did not take the order, and this is why. */
export function rejectedWords(marketplace: Marketplace, reason: string): Failure {
  return {
    code: 'purchase.rejected',
    detail: `The seller did not take this order: ${reason}`,
    remedy: `Nothing is charged. Ask the seller if you think this is a mistake, and order again on ${MARKETPLACE_NAME[marketplace]} once it is settled.`,
  };
}

export const RETRYING = 'The last try did not succeed. We try again by ourselves.';

export interface Failure {
  readonly code: string;
  readonly detail: string;
  readonly remedy: string;
}

type ErrorClass = NonNullable<Progress['error']>['class'];

/** The cause by the class of the engine's error (contract provisioning §4.3): its detail is written for operators. */
const CAUSES: Partial<Record<ErrorClass, Pick<Failure, 'code' | 'detail'>>> = {
  quota: { code: 'setup.no_capacity', detail: 'There is not enough free capacity in the region you chose.' },
  permission: { code: 'setup.approval_needed', detail: 'The next change needs the consent of one of our operators.' },
  validation: { code: 'setup.refused', detail: 'What your plan needs could not be had as it was ordered.' },
  unsupported: { code: 'setup.refused', detail: 'What your plan needs could not be had as it was ordered.' },
  conflict: { code: 'setup.interrupted', detail: 'Something else changed at the same time, again and again.' },
  throttled: { code: 'setup.busy', detail: 'The systems below your storage stayed too busy to take the work.' },
};
const NOT_PROVED = {
  code: 'setup.not_proved',
  detail: 'Your storage was created, but our test write and read did not succeed. We hand over no storage that does not work.',
};
const UNCLEAR = { code: 'setup.stopped', detail: 'A step did not come to its end, for a reason that a person has to look at.' };

export function failureWords(error: Pick<NonNullable<Progress['error']>, 'class' | 'step'> | null, reference: string): Failure {
  const cause = (error && CAUSES[error.class]) ?? (error?.step === 'validate' ? NOT_PROVED : UNCLEAR);
  const step = error ? `It stopped at this step: ${stepWords(error.step).title.toLowerCase()}. ` : '';
  return {
    code: cause.code,
    detail: `${step}${cause.detail}`,
    remedy: `You need not do or enter anything again: your purchase and your details are kept, our operators see this order, and this page goes on by itself once they have mended it. Nothing is charged for use meanwhile. If it is urgent, write to support and give the reference ${reference}.`,
  };
}
