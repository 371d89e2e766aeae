const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Text as a page may show it, in an element or an attribute. */
export const safe = (text: string): string => text.replace(/[&<>"']/g, (c) => ENTITIES[c]!);
