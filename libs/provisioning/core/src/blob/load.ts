/** The suite brings a whole SDK along: who only drives clusters shall not wait for it. */
export const loadBlobSuite = async (): Promise<typeof import('./suite.js').runBlobSuite> => (await import('./suite.js')).runBlobSuite;
