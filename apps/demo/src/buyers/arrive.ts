/** As a browser does: the marketplace's page posts a form to ours, which answers with a redirect that carries no token. */
export async function postLanding(url: string, fields: Record<string, string>): Promise<string> {
  const answer = await fetch(url, {
    method: 'POST',
    redirect: 'manual',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(fields).toString(),
    signal: AbortSignal.timeout(20_000),
  });
  return sessionOf(answer);
}

/** The landing visit that a redirect names. */
export async function sessionOf(answer: Response): Promise<string> {
  const location = answer.headers.get('location') ?? '';
  const session = /^\/landing\/s\/([^/?#]+)$/.exec(location)?.[1];
  if (answer.status !== 303 || !session)
    throw new Error(`the landing page answered ${answer.status} ${location} ${(await answer.text()).slice(0, 200)}`);
  return session;
}
