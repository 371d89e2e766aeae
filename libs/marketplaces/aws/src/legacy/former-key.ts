/** The kind of alias under which a licence names the purchase of an old listing that it was before (contract aws §0.3). */
export const FORMER_KEY = 'former_key';
