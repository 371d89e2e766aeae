import { describe, expect, it } from 'vitest';
import { LandingThrottle } from './landing-throttle.js';

describe('arrivals at the landing page', () => {
  let now = 1_000_000;
  const throttle = (): LandingThrottle => new LandingThrottle(() => now, { perAddress: 3, inAll: 5, windowMs: 60_000, addresses: 2 });

  it('of one address are limited a minute, without harm to others', () => {
    const door = throttle();
    for (let i = 0; i < 3; i += 1) door.admit('a');
    expect(() => door.admit('a')).toThrow('landing.too_many');
    door.admit('b');
    now += 60_000;
    door.admit('a');
  });

  it('are limited in all, however many addresses there are', () => {
    const door = throttle();
    for (const address of ['a', 'b', 'c', 'd', 'e']) door.admit(address);
    expect(() => door.admit('f')).toThrow('landing.too_many');
    now += 60_000;
    door.admit('f');
  });
});
