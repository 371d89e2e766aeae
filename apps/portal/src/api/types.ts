// Written by hand in the shape that openapi-typescript generates, until the control plane's own file takes its place.
// Only `client.ts` imports from here.

export interface components {
  schemas: {
    LandingMarketplace: 'azure' | 'gcp' | 'aws';
    LandingState: 'needs_details' | 'provisioning' | 'activating' | 'ready' | 'suspended' | 'ended' | 'failed' | 'awaiting_marketplace';
    LandingTerm: { startsAt: string; endsAt: string; unit: string };
    LandingPurchase: {
      offerName: string;
      planName: string;
      subscriptionName: string;
      quantity: number | null;
      term: components['schemas']['LandingTerm'] | null;
      beneficiaryEmail: string | null;
      purchaserEmail: string | null;
    };
    LandingInclude: { label: string; value: string };
    LandingRegion: { id: string; name: string };
    LandingDetails: { organisation: string; region: string; contactName: string; contactEmail: string };
    LandingProgress: { phase: string; step: number; steps: number; awaited: string; message: string; since: string };
    LandingKey: { id: string; secret: string };
    LandingEndpoint: {
      url: string;
      accountName: string;
      keys: components['schemas']['LandingKey'][] | null;
      keysShownOnce: boolean;
    };
    LandingTenant: { slug: string; displayName: string };
    LandingProblem: { code: string; detail: string; remedy: string };
    LandingSession: {
      sessionId: string;
      marketplace: components['schemas']['LandingMarketplace'];
      state: components['schemas']['LandingState'];
      purchase: components['schemas']['LandingPurchase'];
      includes: components['schemas']['LandingInclude'][];
      regions: components['schemas']['LandingRegion'][];
      defaults: components['schemas']['LandingDetails'];
      progress: components['schemas']['LandingProgress'] | null;
      endpoint: components['schemas']['LandingEndpoint'] | null;
      tenant: components['schemas']['LandingTenant'] | null;
      apiKey: string | null;
      problem: components['schemas']['LandingProblem'] | null;
      support: { email: string };
    };
    FieldError: { field: string; message: string };
    Problem: { code: string; detail: string; title?: string; status?: number; errors?: components['schemas']['FieldError'][] };
  };
}

type Session = { content: { 'application/json': components['schemas']['LandingSession'] } };
type Refusal = { content: { 'application/problem+json': components['schemas']['Problem'] } };
type SessionPath = { path: { sessionId: string } };

export interface paths {
  '/landing/api/sessions/{sessionId}': {
    get: {
      parameters: SessionPath;
      responses: { 200: Session; 404: Refusal; 410: Refusal };
    };
  };
  '/landing/api/sessions/{sessionId}/details': {
    post: {
      parameters: SessionPath;
      requestBody: { content: { 'application/json': components['schemas']['LandingDetails'] } };
      responses: { 202: Session; 400: Refusal; 409: Refusal; 410: Refusal };
    };
  };
}
