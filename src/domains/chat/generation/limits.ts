/** Bounds of chat; durations in milliseconds. */
export type ChatLimits = {
  /** Answers that are made at once in this process. */
  generationsMax: number;
  /** Of one answer, in bytes of UTF-8; a longer one ends with `length`. */
  answerBytesMax: number;
  /** Of one server-sent event of an engine. */
  eventCharsMax: number;
  /** Between two saves of the text so far; a save takes a moment too, and a second is promised. */
  partialEveryMs: number;
  /** For a deployment that is starting. */
  startWaitMs: number;
  /** A long prompt on a small machine takes minutes before the first token. */
  firstTokenMs: number;
  /** Between two tokens. */
  stallMs: number;
  /** For an engine that says it is busy. */
  busyWaitMs: number;
  /** The same for a program that asks through the gateway: it tries again by itself. */
  relayBusyWaitMs: number;
  /** An answer that is sent in one piece is silent until it is complete. */
  wholeAnswerMs: number;
  /** An answer that nobody has read for so long is stopped; null: it goes on. */
  stopUnreadAfterMs: number | null;
};

export const defaultChatLimits: ChatLimits = {
  generationsMax: 512,
  answerBytesMax: 1024 * 1024,
  eventCharsMax: 1024 * 1024,
  partialEveryMs: 700,
  startWaitMs: 10 * 60_000,
  firstTokenMs: 10 * 60_000,
  stallMs: 120_000,
  busyWaitMs: 30_000,
  relayBusyWaitMs: 5_000,
  wholeAnswerMs: 30 * 60_000,
  stopUnreadAfterMs: null,
};
