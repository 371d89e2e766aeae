export function processesIn(dataDir: string): { pid: number; command: string; cwd: string }[];
export function differences(dataDir: string, expected: Record<string, Record<string, string[]>>): string[];
