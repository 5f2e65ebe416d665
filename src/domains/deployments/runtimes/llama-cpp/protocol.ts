/** What the service and its engine child say to each other over the child's IPC channel. JSON-safe. */

export type EngineOptions = {
  modelPath: string;
  /** What `GET /v1/models` and the answers call the model. */
  modelName: string;
  /** 0 = any free one; always on 127.0.0.1. */
  port: number;
  /** Tokens that each sequence holds; null = what the model was trained for, 4,096 at most. */
  contextSize: number | null;
  /** Answers generated at the same time; each has a context of its own. */
  parallel: number;
  /** null = one less than there are cores, because the event loop needs one to itself. */
  threads: number | null;
  /** 0 = none, null = as many as fit. */
  gpuLayers: number | null;
  /** Requests that may wait for a sequence before further ones are refused. */
  queueMax: number;
  /** How long running answers may go on after SIGTERM. */
  drainMs: number;
  /** How long it goes on serving without a service before it ends itself. */
  orphanGraceMs: number;
};

/** The secret travels here and not in arguments or environment, which other users of the machine can read. */
export type ToEngine =
  | { type: 'start'; options: EngineOptions; secret: string }
  | { type: 'stop'; drainMs: number }
  /** The service is about to end and wants it to go on for so long until the next service comes. */
  | { type: 'release'; graceMs: number };

/**
 * `POST` here, with the secret, is how a service that did not start the engine holds it: it goes on for another
 * `orphanGraceMs`, or as long as the body's `{"grace_ms"}` says.
 */
export const leasePath = '/lease';
/** The longest that a lease may be asked for. */
export const leaseMsMax = 24 * 3_600_000;

export type EngineReady = {
  type: 'ready';
  pid: number;
  port: number;
  contextSize: number;
  trainContextSize: number;
  parallel: number;
  threads: number;
  /** `false` when everything runs on the processor. */
  gpu: string | false;
  gpuLayers: number;
};

export const engineFailureCodes = ['MODEL_INVALID', 'PORT_IN_USE', 'OUT_OF_MEMORY', 'ENGINE_UNAVAILABLE', 'INTERNAL'] as const;
export type EngineFailureCode = (typeof engineFailureCodes)[number];

export type FromEngine =
  /** 0..1 of the model's weights. */
  { type: 'loading'; progress: number } | EngineReady | { type: 'failed'; code: EngineFailureCode; message: string };

/** The engine's exit codes: whoever finds one dead without having heard it knows why. */
export const engineExitCodes = {
  MODEL_INVALID: 3,
  PORT_IN_USE: 4,
  OUT_OF_MEMORY: 5,
  ENGINE_UNAVAILABLE: 6,
  INTERNAL: 70,
} as const satisfies Record<EngineFailureCode, number>;
