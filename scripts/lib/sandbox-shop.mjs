// What a control plane must be told to sell in the sandbox, and what the sandbox must be told about it.

/** Environment of the control plane, read from the sandbox's own settings. `signIn`: buyers prove who they are on the landing page. */
export async function sellerEnvironment(sandboxUrl, { signIn = false } = {}) {
  const { azure, aws, gcp } = await settingsOf(sandboxUrl);
  const env = {};
  const offer = azure?.offers?.[0];
  const publisher = azure?.publishers?.find((one) => one.id === offer?.publisherId);
  const app = publisher?.apps?.find((one) => one.clientId === offer?.clientId);
  if (app)
    Object.assign(env, {
      AZURE_TENANT_ID: publisher.tenantId,
      AZURE_CLIENT_ID: app.clientId,
      AZURE_CLIENT_SECRET: app.clientSecret,
      AZURE_MANAGED_APP_SIG: azure.managedApps.sig,
    });
  if (app && signIn && azure.signIn)
    Object.assign(env, { AZURE_SIGN_IN_CLIENT_ID: azure.signIn.clientId, AZURE_SIGN_IN_CLIENT_SECRET: azure.signIn.clientSecret });
  // The SDK's own switch for its warning about Node 20.
  if (aws)
    Object.assign(env, {
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
      AWS_PRODUCT_CODES: aws.products.map((one) => one.code).join(','),
      AWS_PRODUCT_IDS: aws.products.map((one) => `${one.id}=${one.code}`).join(','),
      AWS_WEBHOOK_SECRET: aws.webhookSecret,
    });
  if (gcp) {
    Object.assign(env, {
      GCP_PROVIDER_ID: gcp.providerId,
      GCP_PROJECT_ID: gcp.projectId,
      GCP_SUBSCRIPTION: gcp.subscription,
      GCP_SERVICE_NAME: gcp.serviceName,
      GCP_AUDIENCES: gcp.audiences.join(','),
      GCP_PUBSUB_ENDPOINT: gcp.pubsubHost,
    });
  }
  return env;
}

/** Where the marketplaces send buyers and notifications. */
export async function connectSandbox(sandboxUrl, controlPlaneUrl) {
  const { azure } = await settingsOf(sandboxUrl);
  const signIn = azure?.signIn ? { signIn: { redirectUris: [`${controlPlaneUrl}/landing/sign-in/callback`] } } : {};
  const answer = await fetch(`${sandboxUrl}/sandbox/settings`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      azure: {
        landingUrl: `${controlPlaneUrl}/landing/azure`,
        webhookUrl: `${controlPlaneUrl}/webhooks/azure`,
        managedApps: { endpoint: `${controlPlaneUrl}/webhooks/azure/managed` },
        ...signIn,
      },
      gcp: { signUpUrl: `${controlPlaneUrl}/landing/gcp` },
      aws: { registrationUrl: `${controlPlaneUrl}/landing/aws`, webhookUrl: `${controlPlaneUrl}/webhooks/aws/eventbridge` },
    }),
  });
  if (!answer.ok) throw new Error(`the sandbox refused the control plane's addresses: ${answer.status} ${await answer.text()}`);
}

async function settingsOf(sandboxUrl) {
  const answer = await fetch(`${sandboxUrl}/sandbox/settings`);
  if (!answer.ok) throw new Error(`the sandbox does not tell its settings: ${answer.status}`);
  return answer.json();
}
