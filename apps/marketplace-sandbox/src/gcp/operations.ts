import { ExactNumber } from '../shared/exact-json.js';
import { invalid } from './errors.js';
import type { GcpMetric, GcpSettings } from './settings.js';

/** One metric of a report, with the digits that were sent. */
export interface MetricTotal {
  metric: GcpMetric;
  values: string[];
}

export interface Operation {
  operationId: string;
  operationName: string;
  consumerId: string;
  startTime: string;
  endTime: string;
  /** The user labels as text; '' without any. */
  labels: string;
  metrics: MetricTotal[];
}

type Fields = Record<string, unknown>;

const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;
const KNOWN = [
  'operationId',
  'operationName',
  'consumerId',
  'startTime',
  'endTime',
  'labels',
  'userLabels',
  'metricValueSets',
  'logEntries',
  'importance',
];
const VALUE_KINDS: Record<string, string> = {
  int64Value: 'int64',
  doubleValue: 'double',
  distributionValue: 'distribution',
  boolValue: 'bool',
  stringValue: 'string',
  moneyValue: 'money',
};
const ATTRIBUTION = /^cloudmarketplace\.googleapis\.com\/(resource_name|container_name)$/;
const LABEL_KEY = /^[a-z][a-z0-9_./-]{0,127}$/;

/** What makes Google refuse a whole request (contract gcp §4): shape, types, duplicates. */
export function readOperation(raw: unknown, call: 'check' | 'report', settings: GcpSettings): Operation {
  const item = object(raw, 'operation');
  for (const name of Object.keys(item)) {
    if (!KNOWN.includes(name)) throw invalid(`Invalid JSON payload received. Unknown name "${name}" at 'operation': Cannot find field.`);
  }
  const operationId = text(item, 'operationId');
  const operationName = text(item, 'operationName');
  const consumerId = text(item, 'consumerId');
  const startTime = instant(item, 'startTime');
  if (call === 'check') {
    if (item['userLabels'] !== undefined) throw invalid('Invalid operation: user_labels are not allowed in a check request.');
    return { operationId, operationName, consumerId, startTime, endTime: startTime, labels: '', metrics: [] };
  }
  const endTime = instant(item, 'endTime');
  if (Date.parse(endTime) <= Date.parse(startTime)) throw invalid(`Invalid operation '${operationId}': end_time must be after start_time.`);
  checkLabels(item['userLabels']);
  return {
    operationId,
    operationName,
    consumerId,
    startTime,
    endTime,
    labels: labelKey(item['userLabels']),
    metrics: readMetrics(item['metricValueSets'], operationId, settings),
  };
}

function readMetrics(raw: unknown, operationId: string, settings: GcpSettings): MetricTotal[] {
  if (!Array.isArray(raw) || raw.length === 0) throw invalid(`Invalid operation '${operationId}': metric_value_sets are required.`);
  const seen = new Set<string>();
  const all = settings.plans.flatMap((plan) => plan.metrics);
  return raw.map((one) => {
    const set = object(one, 'metric_value_sets');
    const name = text(set, 'metricName');
    const metric = all.find((candidate) => candidate.id === name);
    if (!metric) throw invalid(`Metric '${name}' is not defined in the service configuration.`);
    const values = set['metricValues'];
    if (!Array.isArray(values) || values.length === 0) throw invalid(`Metric '${name}' has no values.`);
    return {
      metric,
      values: values.map((value) => {
        const fields = object(value, 'metric_values');
        const key = `${name}|${labelKey(fields['labels'])}`;
        if (seen.has(key)) throw invalid(`Duplicate metric value for '${name}' in operation '${operationId}'.`);
        seen.add(key);
        return readValue(fields, metric);
      }),
    };
  });
}

/** Wrong kind: the whole request, with these words (contract gcp §4). */
function readValue(fields: Fields, metric: GcpMetric): string {
  const kinds = Object.keys(fields).filter((name) => name in VALUE_KINDS);
  const kind = kinds[0];
  if (kinds.length !== 1 || !kind) throw invalid(`Metric '${metric.id}' must have exactly one value.`);
  const short = metric.id.split('/').at(-1) ?? metric.id;
  const expected = metric.type === 'INT64' ? 'int64' : 'double';
  if (VALUE_KINDS[kind] !== expected)
    throw invalid(`Inconsistent metric value type for '${short}'. Expecting ${expected}, got ${VALUE_KINDS[kind]}`);
  const value = fields[kind];
  // 64-bit integers are text in JSON; a double is a number.
  if (metric.type === 'INT64' && !(typeof value === 'string' && /^-?\d{1,19}$/.test(value)))
    throw invalid(`Invalid value at 'int64_value' (TYPE_INT64) of '${short}': a text of digits is expected.`);
  if (metric.type === 'DOUBLE' && !(value instanceof ExactNumber))
    throw invalid(`Invalid value at 'double_value' (TYPE_DOUBLE) of '${short}'.`);
  const digits = value instanceof ExactNumber ? value.text : String(value);
  if (metric.type === 'INT64' && BigInt(digits) > 9_223_372_036_854_775_807n)
    throw invalid(`Invalid value at 'int64_value' (TYPE_INT64) of '${short}'.`);
  if (digits.startsWith('-')) throw invalid(`Negative value for the delta metric '${short}'.`);
  return digits;
}

function checkLabels(raw: unknown): void {
  if (raw === undefined) return;
  for (const [key, value] of Object.entries(object(raw, 'user_labels'))) {
    const good = ATTRIBUTION.test(key) || LABEL_KEY.test(key);
    if (!good || typeof value !== 'string' || value.length > 63) throw invalid(`Invalid user label '${key}'.`);
  }
}

function labelKey(labels: unknown): string {
  return labels === undefined ? '' : JSON.stringify(Object.entries(object(labels, 'labels')).sort());
}

function object(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof ExactNumber)
    throw invalid(`Invalid value at '${what}'.`);
  return value as Fields;
}

function text(item: Fields, name: string): string {
  const value = item[name];
  if (typeof value !== 'string' || value === '')
    throw invalid(`Invalid operation: ${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)} is required.`);
  return value;
}

function instant(item: Fields, name: string): string {
  const value = text(item, name);
  if (!INSTANT.test(value) || Number.isNaN(Date.parse(value)))
    throw invalid(`Invalid value at '${name}' (type.googleapis.com/google.protobuf.Timestamp), "${value}"`);
  return value;
}
