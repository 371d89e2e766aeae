import { Stack, Text, Title } from '@mantine/core';
import type { LandingSession } from '../api/client.js';
import { Facts, type Fact } from '../ui/facts.js';
import { marketplaceWords } from './marketplace-words.js';

const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeZone: 'UTC' });
const termUnits: Readonly<Record<string, string>> = {
  P1M: 'monthly',
  P1Y: 'yearly',
  P2Y: '2 years',
  P3Y: '3 years',
  month: 'monthly',
  year: 'yearly',
};

function formatTerm({ startsAt, endsAt, unit }: NonNullable<LandingSession['purchase']['term']>): string {
  const [start, end] = [startsAt, endsAt].map((instant) => {
    const at = Date.parse(instant ?? '');
    return Number.isNaN(at) ? null : day.format(at);
  });
  const span = start && end ? `${start} – ${end}` : start ? `from ${start}` : `until ${end}`;
  const words = unit && (termUnits[unit] ?? unit);
  return words ? `${span} (${words})` : span;
}

function factsOf({ marketplace, purchase }: LandingSession): Fact[] {
  const { offerName, planName, subscriptionName, quantity, term, purchaserEmail, beneficiaryEmail } = purchase;
  const facts: Fact[] = [
    { label: 'Product', value: offerName },
    { label: 'Plan', value: planName },
    { label: 'Subscription', value: subscriptionName },
    { label: 'Bought on', value: marketplaceWords(marketplace).name },
  ];
  if (quantity !== null) facts.push({ label: 'Quantity', value: String(quantity) });
  if (term?.startsAt || term?.endsAt) facts.push({ label: 'Term', value: formatTerm(term) });
  if (purchaserEmail) facts.push({ label: 'Bought by', value: purchaserEmail });
  if (beneficiaryEmail && beneficiaryEmail !== purchaserEmail) facts.push({ label: 'Bought for', value: beneficiaryEmail });
  return facts;
}

export function PurchaseSummary({ session }: { readonly session: LandingSession }) {
  return (
    <section className="card" aria-labelledby="purchase">
      <Stack gap="sm">
        <Title order={2} size="h3" id="purchase">
          What you bought
        </Title>
        <div className="factColumns">
          <Facts facts={factsOf(session)} />
          {session.includes.length > 0 && (
            <div>
              <Text fw={600} component="h3" m={0} py={6}>
                Your plan includes
              </Text>
              <Facts facts={session.includes} />
            </div>
          )}
        </div>
      </Stack>
    </section>
  );
}
