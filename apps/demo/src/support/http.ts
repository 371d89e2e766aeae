/** An answer that was not the wanted one. */
export class HttpError extends Error {
  constructor(
    readonly method: string,
    readonly url: string,
    readonly status: number,
    readonly code: string | null,
    readonly body: string,
  ) {
    super(`${method} ${new URL(url).pathname} answered ${status}${code ? ` ${code}` : ''}: ${body.slice(0, 400)}`);
  }
}

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

/** JSON over HTTP with one optional bearer key. */
export class JsonClient {
  constructor(
    readonly base: string,
    private readonly key: string | null = null,
    private readonly timeoutMs = 20_000,
  ) {}

  get<T>(path: string): Promise<T> {
    return this.send<T>('GET', path);
  }

  post<T>(path: string, body?: unknown, timeoutMs?: number): Promise<T> {
    return this.send<T>('POST', path, body, timeoutMs);
  }

  put<T>(path: string, body: unknown): Promise<T> {
    return this.send<T>('PUT', path, body);
  }

  delete(path: string): Promise<void> {
    return this.send<void>('DELETE', path);
  }

  /** Every item of a cursor list. */
  async all<T>(path: string): Promise<T[]> {
    const items: T[] = [];
    let cursor: string | null = null;
    for (let pages = 0; pages < 500; pages += 1) {
      const page: Page<T> = await this.get(
        `${path}${path.includes('?') ? '&' : '?'}limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`,
      );
      items.push(...page.items);
      cursor = page.nextCursor;
      if (!cursor) return items;
    }
    throw new Error(`${path} does not end after 500 pages`);
  }

  /** Status and code of a call that is meant to be refused. */
  async refusal(method: string, path: string, body?: unknown): Promise<{ status: number; code: string | null }> {
    return this.send(method, path, body).then(
      () => ({ status: 200, code: null }),
      (error: unknown) => {
        if (error instanceof HttpError) return { status: error.status, code: error.code };
        throw error;
      },
    );
  }

  private async send<T>(method: string, path: string, body?: unknown, timeoutMs = this.timeoutMs): Promise<T> {
    const url = `${this.base}${path}`;
    const response = await fetch(url, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.key ? { authorization: `Bearer ${this.key}` } : {}),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    }).catch((error: unknown) => {
      const cause = (error as { cause?: { code?: string } }).cause?.code;
      throw new Error(`${method} ${path}: ${cause ?? (error as Error).message}`, { cause: error });
    });
    const text = await response.text();
    if (!response.ok) throw new HttpError(method, url, response.status, codeOf(text), text);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }
}

function codeOf(text: string): string | null {
  try {
    const code = (JSON.parse(text) as { code?: unknown }).code;
    return typeof code === 'string' ? code : null;
  } catch {
    return null;
  }
}
