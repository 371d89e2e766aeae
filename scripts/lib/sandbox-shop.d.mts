export function sellerEnvironment(sandboxUrl: string, wishes?: { signIn?: boolean }): Promise<Record<string, string>>;
export function connectSandbox(sandboxUrl: string, controlPlaneUrl: string): Promise<void>;
