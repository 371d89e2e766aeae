export function sellerEnvironment(sandboxUrl: string): Promise<Record<string, string>>;
export function connectSandbox(sandboxUrl: string, controlPlaneUrl: string): Promise<void>;
