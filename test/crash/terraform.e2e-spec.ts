import { describe } from 'vitest';
import { itSurvives } from './play.js';

describe('a cluster of terraform whose control planes are killed in every step of its life', () => itSurvives('terraform', 2));
