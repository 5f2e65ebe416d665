import type { Socket } from 'node:net';
import WebSocket from 'ws';
import { eventually } from './eventually.ts';

export type SocketMessage = { type: string; id?: string; payload?: unknown };

/** A graphql-transport-ws client that shows every message and can misbehave. */
export class GraphqlSocket {
  readonly socket: WebSocket;
  readonly messages: SocketMessage[] = [];
  closeCode: number | null = null;
  refusedStatus: number | null = null;

  constructor(url: string, options: { headers?: Record<string, string>; protocol?: string } = {}) {
    this.socket = new WebSocket(url, options.protocol ?? 'graphql-transport-ws', { headers: options.headers ?? {} });
    this.socket.on('message', (data) => this.messages.push(JSON.parse((data as Buffer).toString('utf8')) as SocketMessage));
    this.socket.on('close', (code) => (this.closeCode = code));
    this.socket.on('error', () => undefined);
    this.socket.on('unexpected-response', (_request, response) => {
      this.refusedStatus = response.statusCode ?? 0;
      response.resume();
    });
  }

  async opened(timeoutMs = 10_000): Promise<this> {
    await eventually('the socket opens', () => {
      if (this.refusedStatus !== null) throw new Error(`refused with ${this.refusedStatus}`);
      return this.socket.readyState === WebSocket.OPEN;
    }, timeoutMs);
    return this;
  }

  /** Opens and initialises with this key in the first message. */
  async initialised(key: string, timeoutMs = 10_000): Promise<this> {
    await this.opened(timeoutMs);
    this.send({ type: 'connection_init', payload: { authorization: `Bearer ${key}` } });
    await this.next('connection_ack', undefined, timeoutMs);
    return this;
  }

  send(message: unknown): void {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  subscribe(id: string, query: string, variables: Record<string, unknown> = {}): void {
    this.send({ type: 'subscribe', id, payload: { query, variables } });
  }

  async next(type: string, id?: string, timeoutMs = 10_000): Promise<SocketMessage> {
    return await eventually(`a message ${type} ${id ?? ''}`, () => this.messages.find((message) => message.type === type && (id === undefined || message.id === id)), timeoutMs);
  }

  payloads(id: string): unknown[] {
    return this.messages.filter((message) => message.type === 'next' && message.id === id).map((message) => message.payload);
  }

  async closed(timeoutMs = 10_000): Promise<number> {
    return await eventually('the socket closes', () => this.closeCode, timeoutMs);
  }

  /** Stops reading from the network, as a suspended browser does. */
  stopReading(): void {
    // ws keeps its socket private; pausing the WebSocket itself would still read a full buffer first.
    (this.socket as unknown as { _socket: Socket })._socket.pause();
  }

  readAgain(): void {
    (this.socket as unknown as { _socket: Socket | null })._socket?.resume();
  }
}
