import { describe, expect, it } from 'vitest';
import { MARKETPLACES } from '#marketplaces/core';
import { STEP_NAMES } from '#provisioning/engine';
import { activatingWords, failureWords, NEUTRAL, STAGES, stageTitle, stepWords, unconfirmedWords, voidedWords } from './landing-words.js';

// Buyers buy storage and an endpoint. What it is made of is an operator's business.
const OPERATORS_WORDS = /\b(cluster|cell|placement|node|pod|shard|tenant|driver|terraform|preflight|step plan)s?\b/i;
const CLASSES = ['throttled', 'conflict', 'permission', 'quota', 'validation', 'unknown', 'unsupported'] as const;

const everyStep = [
  ...[null, ...STEP_NAMES].map((step) => [String(step), stepWords(step)] as const),
  ...MARKETPLACES.map((name) => [name, activatingWords(name)] as const),
  ...MARKETPLACES.map((name) => [`${name}, not confirmed`, unconfirmedWords(name)] as const),
];

describe('the words of the landing page', () => {
  it.each(STEP_NAMES)("has a sentence of its own for the engine's step %s", (step) => {
    expect(stepWords(step)).not.toBe(NEUTRAL);
    expect(STEP_NAMES.filter((other) => stepWords(other).message === stepWords(step).message)).toEqual([step]);
  });

  it.each(everyStep)('says what happens and what is awaited, in a buyer’s words: %s', (_name, words) => {
    expect(words.code).toMatch(/^setup\.[a-z_]+$/);
    expect(words.title).toMatch(/^[A-Z]/);
    expect(words.message).toMatch(/^[A-Z].+\.$/);
    expect(words.awaited).toMatch(/^[a-z].+[^.]$/);
    expect(STAGES).toContain(words.stage);
    expect(Object.values(words).join(' ')).not.toMatch(OPERATORS_WORDS);
  });

  it('has codes that tell the steps apart', () => {
    const codes = [null, ...STEP_NAMES].map((step) => stepWords(step).code);
    expect(new Set(codes).size).toBe(codes.length);
  });

  it.each(['teleport', 'constructor', ''])('falls back to a neutral sentence for the unknown step "%s"', (step) => {
    expect(stepWords(step)).toBe(NEUTRAL);
  });

  it('goes through the stages in the order of the steps', () => {
    const order = STEP_NAMES.map((step) => STAGES.indexOf(stepWords(step).stage));
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(activatingWords('azure').stage).toBe(STAGES.at(-1));
  });

  it.each(MARKETPLACES)('names no other marketplace to a buyer from %s', (marketplace) => {
    const said = [
      ...STAGES.map((stage) => stageTitle(stage, marketplace)),
      ...Object.values(activatingWords(marketplace)),
      ...Object.values(unconfirmedWords(marketplace)),
    ].join(' ');
    const others = { azure: /Google|AWS/, gcp: /Azure|AWS/, aws: /Azure|Google/ }[marketplace];
    expect(said).not.toMatch(others);
  });

  it.each(MARKETPLACES)('tells a buyer from %s that a purchase never came into force, and what to do', (marketplace) => {
    const { code, detail, remedy } = voidedWords(marketplace);
    expect(code).toBe('purchase.called_off');
    expect([detail, remedy].join(' ')).not.toMatch({ azure: /Google|AWS/, gcp: /Azure|AWS/, aws: /Azure|Google/ }[marketplace]);
    expect([detail, remedy].join(' ')).not.toMatch(OPERATORS_WORDS);
  });

  it.each(CLASSES.flatMap((errorClass) => STEP_NAMES.map((step) => [errorClass, step] as const)))(
    'tells a failure (%s at %s) by cause, way out and reference',
    (errorClass, step) => {
      const words = failureWords({ class: errorClass, step }, 'op_1');
      expect(words.code).toMatch(/^setup\.[a-z_]+$/);
      expect(words.detail).toContain(stepWords(step).title.toLowerCase());
      expect(words.remedy).toContain('op_1');
      expect(Object.values(words).join(' ')).not.toMatch(OPERATORS_WORDS);
    },
  );

  it('tells missing capacity, a failed test and the unclear apart', () => {
    const code = (errorClass: (typeof CLASSES)[number], step: string) => failureWords({ class: errorClass, step }, 'op_1').code;
    expect([code('quota', 'apply'), code('unknown', 'validate'), code('unknown', 'apply'), failureWords(null, 'op_1').code]).toEqual([
      'setup.no_capacity',
      'setup.not_proved',
      'setup.stopped',
      'setup.stopped',
    ]);
  });
});
