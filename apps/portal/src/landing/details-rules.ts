import type { LandingDetails } from '../api/client.js';

// The server's own rules, checked early. The server stays the judge: its `errors` land on the same fields.
const EMAIL = /^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9-]*\.)+[A-Za-z]{2,}$/;

export const ORGANISATION_MIN = 2;
export const ORGANISATION_MAX = 80;
export const CONTACT_NAME_MAX = 80;
export const EMAIL_MAX = 254;

export function cleanDetails(details: LandingDetails): LandingDetails {
  return {
    organisation: details.organisation.trim(),
    region: details.region,
    contactName: details.contactName.trim(),
    contactEmail: details.contactEmail.trim(),
  };
}

type Regions = readonly { readonly id: string }[];
export type FieldProblems = Partial<Record<keyof LandingDetails, string>>;

/** In the order of the form: the first with a problem takes the focus. */
export const FIELDS = ['organisation', 'region', 'contactName', 'contactEmail'] as const;

export function isField(name: string): name is keyof LandingDetails {
  return (FIELDS as readonly string[]).includes(name);
}

function detailProblem(name: keyof LandingDetails, raw: string, regions: Regions): string | null {
  const value = raw.trim();
  const length = [...value].length;
  switch (name) {
    case 'organisation':
      if (length === 0) return 'Enter the name of your organisation';
      if (length < ORGANISATION_MIN) return `Use at least ${ORGANISATION_MIN} characters`;
      return length > ORGANISATION_MAX ? `Use at most ${ORGANISATION_MAX} characters` : null;
    case 'region':
      return regions.some((region) => region.id === value) ? null : 'Choose a region';
    case 'contactName':
      if (length === 0) return 'Enter the name of a contact';
      return length > CONTACT_NAME_MAX ? `Use at most ${CONTACT_NAME_MAX} characters` : null;
    case 'contactEmail':
      if (length === 0) return 'Enter an e-mail address';
      return length <= EMAIL_MAX && EMAIL.test(value) ? null : 'Enter an e-mail address such as name@example.com';
  }
}

export function detailsProblems(details: LandingDetails, regions: Regions): FieldProblems {
  const problems: FieldProblems = {};
  for (const name of FIELDS) {
    const problem = detailProblem(name, details[name], regions);
    if (problem) problems[name] = problem;
  }
  return problems;
}
