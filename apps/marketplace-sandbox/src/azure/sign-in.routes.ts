import type { FastifyInstance } from 'fastify';
import { html } from '../storefront/html.js';
import { page } from '../storefront/pages.js';
import { sendPage } from '../storefront/send-page.js';
import { EntraRefusal, type Form } from './entra-refusal.js';
import type { SignIn } from './sign-in.js';

interface Ask {
  Params: { tenant: string };
  Querystring: Form;
  Body: Form | null;
}

/** The page where a person picks an account. Stands for https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize. */
export function signInRoutes(scope: FastifyInstance, signIn: SignIn): void {
  scope.register((pages, _options, done) => {
    pages.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
      const text = error instanceof EntraRefusal ? `AADSTS${error.aadsts}: ${error.message}` : error.message;
      return sendPage(
        reply.code(error.statusCode ?? 500),
        page(
          'Sign in (sandbox)',
          html`<main>
            <h1>Sorry, but we’re having trouble signing you in.</h1>
            <p>${text}</p>
          </main>`,
        ),
      );
    });
    pages.get<Ask>('/:tenant/oauth2/v2.0/authorize', { config: { operation: 'authorize' } }, (request, reply) => {
      const { redirectUri } = signIn.check(request.query);
      return sendPage(
        reply,
        page(
          'Pick an account (sandbox)',
          html`<main>
            <h1>Pick an account</h1>
            <p class="quiet">The sandbox stands for Microsoft here, and asks for no password. You go on to ${new URL(redirectUri).host}.</p>
            <form method="post">
              ${signIn
                .accounts(request.params.tenant)
                .map((one) => html`<button name="account" value="${one.objectId}">${one.name} <small>${one.emailId}</small></button>`)}
              <button name="account" value="">Decline</button>
            </form>
          </main>`,
        ),
      );
    });
    pages.post<Ask>('/:tenant/oauth2/v2.0/authorize', { config: { operation: 'authorize' } }, (request, reply) =>
      reply.redirect(signIn.answer(request.params.tenant, request.query, request.body?.['account']), 302),
    );
    done();
  });
}
