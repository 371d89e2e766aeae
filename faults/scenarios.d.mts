export const SCENARIOS: readonly { readonly id: string; readonly title: string }[];
export const SHORT: { readonly id: string; readonly title: string };
