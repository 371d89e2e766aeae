import type { BerthConfig } from '#platform';
import type { Services } from './services.js';

/** What this process is and how it does, for the banner, `/readyz` and links we hand out. */
export class RuntimeInfo {
  private base: string | null = null;
  private phase: 'starting' | 'ready' | 'stopping' = 'starting';

  constructor(
    private readonly config: BerthConfig,
    readonly modes: Services['modes'],
  ) {}

  listening(url: string): void {
    this.base = url;
  }
  ready(): void {
    this.phase = 'ready';
  }
  stopping(): void {
    this.phase = 'stopping';
  }

  get isListening(): boolean {
    return this.base !== null;
  }
  get state(): 'starting' | 'ready' | 'stopping' {
    return this.phase;
  }
  get role(): string {
    return this.config.role;
  }

  /** Where this process itself is reached on this machine. */
  get url(): string {
    if (!this.base) throw new Error('not listening yet');
    return this.base;
  }

  /** Where buyers reach us: the configured public URL, else our own. */
  get publicUrl(): string {
    return this.config.publicUrl ?? this.url;
  }
}
