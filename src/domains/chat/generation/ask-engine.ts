import { StopReason } from '../../../shared/abort.ts';
import { AppError, isAppError } from '../../../shared/errors.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { TokenPayer } from '../../../shared/key-limits.ts';
import type { PushStream } from '../../../shared/push-stream.ts';
import type { StreamingHttp } from '../../../shared/streaming-http.ts';
import type { InferenceTarget } from '../../deployments/types.ts';
import { messageNotFound } from '../faults.ts';
import { toUpstreamParameters } from '../parameters.ts';
import type { ChatParameters } from '../types.ts';
import type { AnswerMeter } from './answer-meter.ts';
import { mediaTypeOf, openCompletion } from './completion-request.ts';
import { readCompletion, type CompletionEvent, type Fed } from './completion-stream.ts';
import { historyOf, type HistoryRepository, type PromptMessage } from './history.repository.ts';
import type { ChatLimits } from './limits.ts';
import { linkSignals } from './linked-signal.ts';
import type { PieceWriter } from './piece-writer.ts';
import { cutShort, notAnAnswer } from './upstream-faults.ts';
import { Watchdog } from './watchdog.ts';

/** One answer to be made. */
export type AnswerJob = {
  messageId: string;
  sessionId: string;
  owner: string;
  questionId: string;
  deploymentId: string;
  parameters: ChatParameters;
  payer: TokenPayer;
  /** Where the question begins its session: all that there is to tell the engine. */
  opening?: { systemPrompt: string | null; question: string };
};

export type EngineDeps = { http: StreamingHttp; history: HistoryRepository; clock: Clock; limits: ChatLimits };
export type AnswerSink = { writer: PieceWriter; meter: AnswerMeter };

/** Empty: not every engine says what it sends. */
const streamTypes: ReadonlySet<string> = new Set(['text/event-stream', '']);

/** Smaller prompts that are tried after the engine found one too long: our estimate of tokens is rough. */
const shares = [1, 0.6, 0.3] as const;

/** Makes one answer, piece by piece into `sink`; resolves with the reason why it is complete. */
export async function askEngine(job: AnswerJob, target: InferenceTarget, deps: EngineDeps & AnswerSink, signal: AbortSignal): Promise<'stop' | 'length'> {
  const { sessionId, questionId, parameters, opening } = job;
  const { contextSize } = target;
  for (const share of shares) {
    const history = opening ? historyOf(opening) : await deps.history.load({ sessionId, questionId, contextSize, maxTokens: parameters.maxTokens, share });
    if (!history) throw messageNotFound();
    deps.meter.leftOut(history.leftOut);
    try {
      return await streamAnswer({ target, messages: history.messages, parameters }, deps, signal);
    } catch (error) {
      const hasBegun = deps.writer.hasText;
      if (!isAppError(error, 'CONTEXT_EXCEEDED') || hasBegun || !history.canShrink || share === shares.at(-1)) throw error;
    }
  }
  throw new AppError('CONTEXT_EXCEEDED', 'The conversation is longer than the context of this model.');
}

type Prompt = { target: InferenceTarget; messages: readonly PromptMessage[]; parameters: ChatParameters };

async function streamAnswer(prompt: Prompt, deps: EngineDeps & AnswerSink, signal: AbortSignal): Promise<'stop' | 'length'> {
  const { clock, limits, meter } = deps;
  const http = prompt.target.http ?? deps.http;
  const watchdog = new Watchdog('The model sent nothing for too long.');
  const over = new AbortController();
  const { signal: live, unlink } = linkSignals([signal, prompt.target.lost, watchdog.signal, over.signal]);
  watchdog.feed(limits.firstTokenMs);
  try {
    meter.requestSent();
    const response = await openCompletion(toRequest(prompt), { http, clock, busyWaitMs: limits.busyWaitMs }, live);
    const mediaType = mediaTypeOf(response);
    if (!streamTypes.has(mediaType)) throw notAnAnswer(`content type ${mediaType}`);
    const state = await readAnswer(readCompletion(response.body, limits.eventCharsMax), deps, () => watchdog.feed(limits.stallMs), live);
    if (state.finish === null && !state.isDone) throw cutShort();
    return state.finish ?? 'stop';
  } finally {
    // A page of a proxy, or an answer in one piece, is not waited for.
    over.abort(new StopReason('superseded'));
    unlink();
    watchdog.end();
  }
}

/** To its end, the engine's or ours. */
async function readAnswer(answer: PushStream<Fed>, sink: AnswerSink, fed: () => void, live: AbortSignal): Promise<AnswerState> {
  const state: AnswerState = { finish: null, isDone: false };
  const enough = new AbortController();
  const { signal, unlink } = linkSignals([live, enough.signal]);
  const receive = ({ events, fault }: Fed): undefined => {
    // A server may go on sending into a connection that is closing.
    live.throwIfAborted();
    fed();
    for (const event of events) {
      if (state.isDone || enough.signal.aborted) return;
      if (!take(event, state, sink)) {
        state.finish = 'length';
        enough.abort(new StopReason('superseded'));
      }
    }
    // The end of the body usually comes along, and leaves a connection that can be used again.
    if (state.isDone) setImmediate(() => enough.abort(new StopReason('superseded')));
    else if (fault) throw fault;
  };
  try {
    await answer.each(receive, signal);
  } finally {
    unlink();
  }
  live.throwIfAborted();
  return state;
}

type AnswerState = { finish: 'stop' | 'length' | null; isDone: boolean };

/** False when the answer has reached its greatest length. */
function take(event: CompletionEvent, state: AnswerState, { meter, writer }: AnswerSink): boolean {
  switch (event.type) {
    case 'text':
      meter.piecesCame(event.pieces);
      return writer.write(event.text);
    case 'finish':
      state.finish = event.reason;
      return true;
    case 'usage':
      meter.engineTold(event);
      return true;
    case 'done':
      state.isDone = true;
      return true;
  }
}

function toRequest({ target, messages, parameters }: Prompt): Parameters<StreamingHttp>[0] {
  const body = { model: target.model, messages, ...toUpstreamParameters(parameters), stream: true, stream_options: { include_usage: true } };
  const headers = { accept: 'text/event-stream', ...target.headers, 'content-type': 'application/json' };
  return { method: 'POST', url: `${target.baseUrl.replace(/\/+$/, '')}/v1/chat/completions`, headers, body: JSON.stringify(body) };
}
