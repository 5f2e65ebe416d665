/**
 * What REST callers may send: names and types. Ranges and meaning are checked once, behind GraphQL, so that
 * both interfaces refuse the same things in the same words.
 */
import * as z from 'zod';
import { deploymentsMax, exportFormats } from '../../domains/chat/types.ts';

/** For the reader of the OpenAPI document: what is out of range is refused behind GraphQL, in its words. */
const wholeNumber = (minimum: number, maximum: number = Number.MAX_SAFE_INTEGER) => z.number().int().meta({ minimum, maximum });
const number = (minimum: number, maximum: number) => z.number().meta({ minimum, maximum });
const int32Max = 2_147_483_647;

const uuid = z.string().min(1).max(64);
const modelId = z.string().min(1).max(300).describe('`huggingface:org/name[@revision]` or `ollama:name[:tag]`.');
const patterns = z.array(z.string().min(1).max(500)).max(100);

export const chatParameters = z
  .strictObject({
    temperature: number(0, 2),
    top_p: number(0, 1),
    top_k: wholeNumber(0, 100_000),
    max_tokens: wholeNumber(1, 16_777_216),
    stop: z.array(z.string()),
    seed: wholeNumber(0, int32Max),
    presence_penalty: number(-2, 2),
    frequency_penalty: number(-2, 2),
    repeat_penalty: number(0, 2),
    response_format: z.strictObject({ type: z.enum(['text', 'json_object', 'json_schema']), json_schema: z.record(z.string(), z.unknown()).optional() }),
  })
  .partial();

export const startDownloadBody = z.strictObject({
  model_id: modelId,
  variant: z.string().min(1).max(200).optional(),
  include: patterns.optional(),
  exclude: patterns.optional(),
  revision: z.string().min(1).max(200).optional(),
  target: z.enum(['local', 'ollama']).optional(),
  priority: wholeNumber(-100, 100).optional(),
  max_bytes_per_second: wholeNumber(1024).optional(),
  override: z.array(z.enum(['unsafe_format', 'scan', 'fit'])).max(3).optional(),
});

const health = z.strictObject({ interval_seconds: number(1, 3600), timeout_seconds: number(1, 600), failures: wholeNumber(1, 100), generation_interval_seconds: number(1, 86_400) }).partial();
const restart = z.strictObject({ policy: z.enum(['always', 'on_failure', 'never']), max_retries: wholeNumber(0, 100) }).partial();

export const deploymentConfig = z
  .strictObject({
    port: wholeNumber(0, 65_535).describe('0 = any free one, else 1024 or more.'),
    gpu_devices: z.array(z.string().max(100)).max(64),
    gpu_layers: wholeNumber(0, 10_000),
    context_size: wholeNumber(64, 16_777_216),
    threads: wholeNumber(1, 1024),
    parallel: wholeNumber(1, 256).describe('Answers at once.'),
    memory_limit_bytes: wholeNumber(16_777_216),
    cpu_limit: number(0.01, 1024),
    keep_alive_seconds: wholeNumber(-1, 31_536_000),
    environment: z.record(z.string(), z.string()),
    image: z.string().max(300),
    extra_args: z.array(z.string().max(1000)).max(100),
    health,
    restart,
    base_url: z.string().max(2000).describe('`remote` only.'),
    api_key: z.string().min(1).max(2000).describe('`remote` only; never shown again.'),
    model: z.string().min(1).max(300).describe('`remote` only.'),
  })
  .partial();

export const startDeploymentBody = z.strictObject({
  deployment_id: uuid.optional().describe('Starts this stopped deployment again; nothing else may be given.'),
  model_id: modelId.optional(),
  variant: z.string().min(1).max(200).optional(),
  runtime: z.string().min(1).max(64).optional(),
  name: z.string().min(1).max(200).optional(),
  config: deploymentConfig.optional(),
  override: z.array(z.enum(['fit'])).max(1).optional(),
});

const deploymentIds = z.array(uuid).min(1).max(deploymentsMax);

export const createSessionBody = z.strictObject({
  deployment_ids: deploymentIds.optional(),
  deployment_id: uuid.optional(),
  title: z.string().optional(),
  system_prompt: z.string().optional(),
  parameters: chatParameters.optional(),
});

export const sendMessageBody = z.strictObject({
  session_id: uuid.optional(),
  deployment_id: uuid.optional(),
  deployment_ids: deploymentIds.optional(),
  message: z.string(),
  parameters: chatParameters.optional(),
  stream: z.boolean().optional().describe('Answers as text/event-stream.'),
});

export const exportBody = z.strictObject({ format: z.enum(exportFormats) });
