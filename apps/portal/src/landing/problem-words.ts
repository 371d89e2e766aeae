import { wordsForAny } from './marketplace-words.js';

export interface ProblemWords {
  readonly title: string;
  readonly happened: string;
  readonly remedy: string;
  readonly steps: readonly string[];
}

const UNAFFECTED = 'Your purchase is not affected, and doing this buys nothing again.';

/** The page takes its text from the code alone: nothing that stands in the address is ever shown. */
export function problemWords(code: string | null, marketplace: string | null | undefined): ProblemWords {
  const { name, reopen } = wordsForAny(marketplace);
  switch (code) {
    case 'landing.token_expired':
      return {
        title: 'This link has expired',
        happened: `A link from ${name} works for a limited time only, and this one is too old.`,
        remedy: `Open the page again from ${name}. ${UNAFFECTED}`,
        steps: reopen,
      };
    case 'landing.token_invalid':
      return {
        title: 'This link cannot be read',
        happened: `The link is damaged, or ${name} does not know it. That happens when an address is cut off, copied or changed on its way.`,
        remedy: `Open the page again from ${name}, without copying the address. ${UNAFFECTED}`,
        steps: reopen,
      };
    case 'landing.not_for_us':
      return {
        title: 'This purchase belongs to another product',
        happened: `${capital(name)} knows the link, but the product behind it is not one that is set up here.`,
        remedy:
          'Check that you open the right subscription. If it is the right one, ask the seller: the offer’s page in the marketplace names their support.',
        steps: reopen,
      };
    case 'landing.plan_not_ready':
      return {
        title: 'This plan is not ready yet',
        happened: `Your purchase is known and valid, but the seller has not finished setting up its plan.`,
        remedy: `The seller has been told. Open the page again from ${name} tomorrow. ${UNAFFECTED}`,
        steps: reopen,
      };
    case 'landing.sign_in_lost':
      return {
        title: 'We lost track of your sign-in',
        happened: 'It took too long, or it was begun in another browser, so we cannot tell which purchase it was for.',
        remedy: `Open the page again from ${name} and sign in there. ${UNAFFECTED}`,
        steps: reopen,
      };
    case 'landing.unavailable':
      return {
        title: 'We cannot check your purchase right now',
        happened: `We could not get an answer from ${name} about your purchase. This is not your fault.`,
        remedy: `Wait a few minutes and open the page again. ${UNAFFECTED}`,
        steps: reopen,
      };
    case 'landing.awaiting_join':
      return {
        title: 'We are connecting your purchase',
        happened: `You use this product already, and ${name} now keeps your purchase under another number. The seller has to confirm that both are one, so that nothing you have is set up or charged twice.`,
        remedy: `The seller has been told. Your service goes on meanwhile. Open the page again from ${name} tomorrow.`,
        steps: reopen,
      };
    case 'landing.awaiting_order':
      return {
        title: 'You are signed up',
        happened: `${capital(name)} has told us who you are, but does not show us your order yet. That can take some minutes.`,
        remedy: 'You need not wait here: your storage is set up as soon as the order arrives. To give it a name, open the page again then.',
        steps: reopen,
      };
    case 'landing.login':
      return {
        title: 'Welcome back',
        happened: `${capital(name)} has opened this page without saying who you are, so no purchase can be shown here. Your storage goes on as it is.`,
        remedy:
          'Work with the endpoint and the keys that were shown when it was set up. To see the purchase, turn on single sign-on for this product and open it again.',
        steps: reopen,
      };
    case 'landing.session_expired':
      return {
        title: 'This page has timed out',
        happened: 'For your safety this page works for a limited time only. What is already being set up goes on.',
        remedy: `Open the page again from ${name}. ${UNAFFECTED}`,
        steps: reopen,
      };
    case 'landing.session_unknown':
      return {
        title: 'This page is not known',
        happened: 'The address is not complete, or it never was one of ours. That happens when it is cut off or changed on its way.',
        remedy: `Open the page from ${name}. ${UNAFFECTED}`,
        steps: reopen,
      };
    default:
      return {
        title: 'We cannot see which purchase this is',
        happened: `The page was opened without the part of the link that says what you bought. That happens when the address is typed or bookmarked.`,
        remedy: `Open the page from ${name}. ${UNAFFECTED}`,
        steps: reopen,
      };
  }
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
