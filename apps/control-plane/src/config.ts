/** The environment, for programs of this app beside `main.ts`. */
export const environment = (): Record<string, string | undefined> => process.env;
