/** What a user's program would write around fetch. */
export type RestAnswer = { status: number; headers: Headers; body: Record<string, unknown> };

export class RestClient {
  readonly #url: string;
  readonly #key: string | null;

  constructor(url: string, key: string | null) {
    this.#url = url;
    this.#key = key;
  }

  async call(method: string, path: string, body?: unknown): Promise<RestAnswer> {
    const response = await this.raw(method, path, body);
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
  }

  async raw(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
    return await fetch(`${this.#url}${path}`, {
      method,
      headers: { ...(this.#key !== null && { authorization: `Bearer ${this.#key}` }), ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    });
  }

  /** The answer's object under `name`; throws with the whole answer when the status is another one. */
  async expect(status: number, name: string, call: { method: string; path: string; body?: unknown }): Promise<Record<string, unknown>> {
    const answer = await this.call(call.method, call.path, call.body);
    if (answer.status !== status) throw new Error(`${call.method} ${call.path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body[name] as Record<string, unknown>;
  }
}
