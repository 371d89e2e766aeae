// The table, and the page that a buyer's finance reads.
import { cpus, totalmem } from 'node:os';
import { holds, unitsText } from './judge.mjs';

const sumOf = (list) => list.reduce((sum, { amount }) => sum + amount, 0n);
/** 0, or how many hours of purchases and how many listed units. */
const cell = (list) => (list.length === 0 ? '0' : `${list.length} (${unitsText(sumOf(list))} units)`);
const struckText = ({ struck, deeds }) => (deeds > 0 ? `${deeds} times` : ['azure', 'aws', 'gcp'].map((m) => struck[m]).join('/'));

export const HEAD = ['scenario', 'struck', 'generated', 'billed', 'lost', 'doubled', 'silent', 'named losses', 'time'];

/** One line, or more where a day has parts. */
export function rowsOf(result) {
  if (result.failed) return [[result.id, '-', '-', '-', '-', '-', '-', `did not run: ${result.failed.split('\n')[0].slice(0, 120)}`, '-']];
  return result.rows.map(({ id, verdict: v, ...row }, i) => [
    id,
    struckText(row),
    v.hours,
    v.billedHours,
    cell(v.lost),
    cell(v.doubled),
    cell(v.silent),
    cell(v.named),
    i === 0 ? `${Math.round(result.seconds)} s` : '',
  ]);
}

/** Good: nothing doubled, nothing silent; what was lost has its finding. */
export const isGood = (result) => !result.failed && result.rows.every(({ verdict }) => holds(verdict));

/** Where the first differences are, for whoever looks into them. */
export function placesOf(result) {
  if (result.failed) return [result.failed];
  return result.rows.flatMap(({ verdict }) =>
    ['lost', 'doubled', 'silent'].flatMap((name) =>
      verdict[name].slice(0, 5).map(({ key, amount }) => {
        const [marketplace, externalId, dimension, hourMs] = key.split('|');
        return `${name}: ${unitsText(amount)} ${dimension} of ${marketplace} ${externalId}, hour ${new Date(Number(hourMs)).toISOString()}`;
      }),
    ),
  );
}

const line = (cells) => `| ${cells.join(' | ')} |`;

export function markdown(results, { seed, commit, seconds, command, redis }) {
  const first = results.find((r) => !r.failed);
  const good = results.filter(isGood).length;
  const anyLoss = (r) => r.failed || r.rows.some(({ verdict }) => verdict.lost.length > 0);
  const text = [
    '# Fault matrix',
    '',
    `Written by \`${command}\`; do not edit. ${good} of ${results.length} scenarios without a silent loss and without anything billed twice.`,
    '',
    '## What this certifies',
    '',
    `Each scenario is an installation of its own: ${first?.subscriptions ?? '?'} subscriptions over Azure, AWS and Google Cloud, ${first?.hours ?? '?'} hours of business time, a database, a worker, an API and the marketplaces' own wire protocols. A generator reads two meters of each subscription every five minutes (a gauge and a counter, about ${first ? first.subscriptions * 2 * 12 * first.hours : '?'} readings), notes each reading in a log of its own and posts it. From that log alone, a judge with arithmetic of its own (\`faults/judge.mjs\`, integers, no line of the product's) says what must be billed, to the last unit of each listing, for each purchase, dimension and hour. It compares that with what the marketplaces say they bill (\`/sandbox/billed\`), two hours after the last difference is gone. The product's database is never asked.`,
    '',
    '- **generated**, **billed**: hours of one purchase and dimension for which something must be billed, and for which something is.',
    '- **lost**: hours of which less is billed than was used. **doubled**: of which more is, or which nobody used. An amount that moved to another hour is both.',
    "- **named losses**: the part of the lost that an open finding names with purchase, dimension, hour and units; finance reads it by `GET /api/v1/findings?open=true`. **silent**: the rest. A named loss is allowed only where the marketplace's own rules make billing impossible.",
    '- **struck**: calls that the fault struck, or connections refused, at azure/aws/gcp; or how often something was done to a process or a clock. Which calls are struck follows from the seed, chosen so that also 1 % strikes at every marketplace.',
    '',
    '## Result',
    '',
    line(HEAD),
    line(HEAD.map((_, i) => (i >= 2 && i <= 3 ? '--:' : '---'))),
    ...results.flatMap((r) => rowsOf(r).map(line)),
    '',
    '## The scenarios',
    '',
    ...results.flatMap((r) => [
      `- **${r.id}**: ${r.title}.${r.notes?.length ? ` ${r.notes.join('; ')}.` : ''}${r.failed ? '' : ` All was billed ${r.settledAfterMinutes === 0 ? 'when the last hour ended' : `${r.settledAfterMinutes} min after the last hour`}.${kindsText(r)}`}`,
      ...(isGood(r) && !anyLoss(r) ? [] : placesOf(r).map((place) => `  - ${place}`)),
    ]),
    '',
    '## Units',
    '',
    'Listed units, never added up over dimensions; generated and billed of the whole scenario.',
    '',
    line(['scenario', 'marketplace', 'dimension', 'generated', 'billed']),
    line(['---', '---', '---', '--:', '--:']),
    ...results
      .filter((r) => !r.failed)
      .flatMap((r) =>
        r.units.map((u) => line([r.id, u.marketplace, u.dimension.split('/').at(-1), unitsText(u.owed), unitsText(u.billed)])),
      ),
    '',
    '## The run',
    '',
    `Seed ${seed}, commit ${commit}, ${Math.round(seconds / 60)} min on ${cpus().length} processors (${cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GiB of memory, Node ${process.versions.node}, ${redis ? 'with Redis' : 'without Redis'}. The same seed makes the same readings, strikes the same calls and chooses the same moments; how many calls there are depends on how long processes take, so a share of the calls may meet a call more or less.`,
    '',
  ];
  return text.join('\n');
}

const kindsText = ({ kinds }) => {
  const list = Object.entries(kinds).map(([kind, n]) => `${n} ${kind}`);
  return list.length ? ` Open findings at the end: ${list.join(', ')}.` : '';
};
