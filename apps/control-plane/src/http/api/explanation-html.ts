import { toPublicId } from '#platform';
import {
  baseUnitOf,
  ofUnit,
  valueUnitOf,
  instantText,
  labelsText,
  sumText,
  unitsForPeople,
  type Explained,
  type Explanation,
} from '#metering';
import { safe } from '../support/html.js';
import { stepViews } from './explanation-view.js';

const CSS = `:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:#1a1f26;background:#fff;margin:0 auto;max-width:62rem;padding:2rem 1.25rem}
h1{font-size:1.45rem;line-height:1.25;margin:0 0 .2rem}h2{font-size:1.05rem;margin:1.8rem 0 .4rem;border-bottom:1px solid #c9d1da;padding-bottom:.2rem}
.lead{margin:0 0 1rem;color:#47525f}.sum{font-size:1.15rem;margin:.2rem 0}.ok,.bad{display:inline-block;padding:.1rem .55rem;border-radius:.3rem;font-size:.9rem}
.ok{background:#e2f3e7;color:#14522a}.bad{background:#fde5e2;color:#8a1c10}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:.5rem 0}dt{color:#47525f}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;margin:.4rem 0;font-size:.9rem}th,td{text-align:left;padding:.28rem .6rem .28rem 0;border-bottom:1px solid #e3e8ee;vertical-align:top}
th{color:#47525f;font-weight:600;border-bottom-color:#9aa6b3}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.b{font-size:.78rem;color:#47525f}
tr.sent td{font-weight:600;border-top:1px solid #9aa6b3}li{margin:.25rem 0}.id{font-family:ui-monospace,monospace;font-size:.82em;overflow-wrap:anywhere}
article+article{margin-top:2.5rem;border-top:3px solid #1a1f26;padding-top:1.5rem}
@media print{body{font-size:10.5pt;max-width:none;padding:0}h2{break-after:avoid}tr,li,dl{break-inside:avoid}article+article{break-before:page;border-top:0}
.ok,.bad{border:1px solid currentColor;background:none}thead{display:table-header-group}@page{margin:16mm}}`;

/** A page that a person of finance can read and print: no script, no other file. */
export function explanationPage(title: string, found: Explained | { found: 'record'; explanations: Explanation[] }, madeAt: Date): string {
  const body =
    found.found === 'event'
      ? found.events
          .map(
            (e) =>
              `<h1>Where sample ${safe(e.eventId)} went</h1><p class="lead">${safe(e.metric)} of ${safe(e.source)}, ${safe(e.value)} at ${safe(e.at)}</p>
<ul>${e.traces.map((t) => `<li><strong>${safe(t.meter)}, hour ${safe(t.hour.toISOString())}:</strong> ${safe(t.words)}${t.nextRecordId ? ` Next record: <span class="id">${safe(toPublicId('rec', t.nextRecordId))}</span>.` : ''}</li>`).join('')}</ul>
${e.traces.map((t) => (t.explanation ? article(t.explanation) : '')).join('\n')}`,
          )
          .join('\n')
      : found.explanations.map(article).join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${safe(title)}</title>
<style>${CSS}</style>
</head>
<body>
${body}
<p class="b">Made at ${safe(madeAt.toISOString())} from stored rows. All times are UTC; amounts in ${'base units'} are exact.</p>
</body>
</html>
`;
}

/** Its lines are moments that set the amount, not parts of a whole. */
const isLevel = (terms: Explanation['terms']): boolean => terms.kind === 'max' || terms.kind === 'latest';
const VALUE_OF: Record<Explanation['terms']['kind'], string> = {
  gauge_integral: 'Value',
  max: 'Together',
  latest: 'Together',
  counter: 'Counted',
  sum: 'Amount',
};

function article(x: Explanation): string {
  const { record, submission, terms } = x;
  const perUnit = BigInt(terms.basePerUnit);
  const end = new Date(x.hour.getTime() + 3_600_000);
  return `<article>
<h1>${record ? safe(ofUnit(record.quantity, terms.listedUnit)) : 'Nothing sent'}: ${safe(terms.dimension)}, ${day(x.hour)}, ${clock(x.hour)} to ${clock(end)}</h1>
<p class="lead">${safe(x.marketplace)}, plan ${safe(x.externalPlanId)}${submission ? ` · ${safe(submission.state)}` : ''}</p>
<p class="sum">${moneyLine(x)} ${x.sameInputs && x.differs.length === 0 ? '<span class="ok">calculated again: equal</span>' : '<span class="bad">calculated again: differs</span>'}</p>
<dl>${facts(x)
    .map(([name, value]) => `<dt>${safe(name)}</dt><dd class="id">${safe(value)}</dd>`)
    .join('')}</dl>
<h2>In words</h2>
<ul>${x.words.map((w) => `<li>${safe(w)}</li>`).join('')}</ul>
<h2>The calculation</h2>
<table><thead><tr><th>Step</th><th class="n">${safe(terms.listedUnit)}</th><th class="n">${safe(baseUnitOf(terms))}, exact</th></tr></thead><tbody>
${stepViews(x)
  .map(
    (s) =>
      `<tr class="${s.step === 'sent' ? 'sent' : ''}"><td>${safe(s.words)}</td><td class="n">${signed(s.units)}</td><td class="n b">${signed(s.base)}</td></tr>`,
  )
  .join('\n')}
<tr><td>together</td><td class="n">0</td><td class="n b">${safe(x.steps.at(-1)?.total.toString() ?? '0')}</td></tr>
</tbody></table>
${record?.parts ? shared(record.parts, terms.listedUnit) : ''}
<h2>How it was measured</h2>
<table><thead><tr><th>From</th><th>To</th><th class="n">${VALUE_OF[terms.kind]}, ${safe(valueUnitOf(terms))}</th><th class="n">${isLevel(terms) ? 'Adds, ' : ''}${safe(terms.listedUnit)}</th><th></th></tr></thead><tbody>
${x.lines
  .map(
    (l) =>
      `<tr><td>${second(l.from)}</td><td>${second(l.to)}</td><td class="n">${grouped(l.value.toString())}</td><td class="n">${unitsForPeople(l.amount, perUnit)}</td><td>${l.kind === 'measured' ? '' : safe(l.kind)}${l.segmentId === x.segmentId ? '' : ' another segment'}</td></tr>`,
  )
  .join('\n')}
</tbody></table>
${submission ? attempts(submission) : ''}
${x.later.length > 0 ? later(x) : ''}
${
  x.findings.length > 0
    ? `<h2>Findings of this hour</h2><ul>${x.findings.map((f) => `<li>${safe(f.kind)}${f.units ? `, ${safe(f.units)} ${safe(terms.listedUnit)}` : ''}: ${f.settlement ? 'settled' : 'open'} <span class="id">${safe(toPublicId('fin', f.finding_id))}</span></li>`).join('')}</ul>`
    : ''
}
${
  x.credits.length > 0
    ? `<h2>Credits</h2><ul>${x.credits.map((c) => `<li>${safe(c.units)} ${safe(terms.listedUnit)}${c.amount === null ? '' : `, ${safe(c.amount)} ${safe(c.currency ?? '')}`}: ${safe(c.state)} (${safe(c.reason)})</li>`).join('')}</ul>`
    : ''
}
<h2>The samples</h2>
<table><thead><tr><th>Time</th><th class="n">Value, ${safe(valueUnitOf(terms))}</th><th>Event</th><th>Source</th></tr></thead><tbody>
${x.samples.map((s) => `<tr><td>${safe(s.at.slice(11, 19))}</td><td class="n">${grouped(s.value)}</td><td class="id">${safe(s.eventId)}</td><td class="id">${safe(s.source)}</td></tr>`).join('\n')}
</tbody></table>
</article>`;
}

function facts(x: Explanation): [string, string][] {
  return [
    ...(x.record ? [['Record', toPublicId('rec', x.record.record_id)] as [string, string]] : []),
    ['Purchase', toPublicId('sub', x.subscriptionId)],
    ...(x.submission?.receipt ? [['Receipt', x.submission.receipt] as [string, string]] : []),
    ['Hour closed', x.closedAt.toISOString()],
    ['One unit', `${x.terms.basePerUnit} ${baseUnitOf(x.terms)}`],
  ];
}

function moneyLine(x: Explanation): string {
  if (x.money === null) return '';
  if (x.money === 'price_unknown') return 'price unknown';
  const { amount, price } = x.money;
  return `${safe(amount)} ${safe(price.currency)} <span class="b">at ${safe(price.unitPrice)} ${safe(price.currency)} a unit, ${safe(price.source)}${price.provisional ? ', provisional' : ''}</span>`;
}

const shared = (parts: NonNullable<NonNullable<Explanation['record']>['parts']>, unit: string): string => `<h2>Whose part it is</h2>
<table><thead><tr><th>Labels</th><th class="n">${safe(unit)}</th></tr></thead><tbody>
${parts.map((p) => `<tr><td>${safe(labelsText(p.labels))}</td><td class="n">${safe(p.quantity)}</td></tr>`).join('\n')}
<tr class="sent"><td>together</td><td class="n">${safe(sumText(parts))}</td></tr>
</tbody></table>`;

const attempts = (s: NonNullable<Explanation['submission']>): string =>
  s.attempts.length === 0
    ? `<h2>Sending</h2><p>Not tried yet.</p>`
    : `<h2>Sending</h2>
<table><thead><tr><th>Attempt</th><th>At</th><th>Answer</th><th>Receipt</th></tr></thead><tbody>
${s.attempts.map((a) => `<tr><td>${a.number}</td><td>${safe(a.at)}</td><td>${safe(a.outcome ?? 'none yet')}${a.code ? ` (${safe(a.code)})` : ''}</td><td class="id">${safe(a.receipt ?? '')}</td></tr>`).join('\n')}
</tbody></table>`;

const later = (x: Explanation): string => `<h2>Added to this hour later</h2>
<table><thead><tr><th>At</th><th>What</th><th class="n">${safe(baseUnitOf(x.terms))}</th></tr></thead><tbody>
${x.later.map((l) => `<tr><td>${safe(l.recordedAt.toISOString())}</td><td>${safe(l.term)}: ${safe(l.cause)}</td><td class="n b">${signed(l.quantity)}</td></tr>`).join('\n')}
</tbody></table>`;

const day = (d: Date): string => d.toISOString().slice(0, 10);
const clock = (d: Date): string => d.toISOString().slice(11, 16);
const second = (us: bigint): string => instantText(us).slice(11, 19);
const grouped = (digits: string): string => digits.replace(/\B(?=(\d{3})+$)/g, '\u202f');
const signed = (text: string): string => safe(text.replace('-', '\u2212'));
