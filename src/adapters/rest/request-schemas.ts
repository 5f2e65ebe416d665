/**
 * What REST callers may send: names and types. Ranges and meaning are checked once, behind GraphQL, so that
 * both interfaces refuse the same things in the same words.
 */
import * as z from 'zod';
import { exportFormats } from '../../domains/chat/types.ts';

/** One answer for each; more at once is no comparison any more. */
export const deploymentsMax = 10;

const uuid = z.string().min(1).max(64);
const modelId = z.string().min(1).max(300).describe('`huggingface:org/name[@revision]` or `ollama:name[:tag]`.');
const patterns = z.array(z.string().min(1).max(500)).max(100);

export const chatParameters = z
  .strictObject({
    temperature: z.number().describe('0 to 2.'),
    top_p: z.number().describe('0 to 1.'),
    top_k: z.number().int(),
    max_tokens: z.number().int().describe('1 or more.'),
    stop: z.array(z.string()),
    seed: z.number().int(),
    presence_penalty: z.number(),
    frequency_penalty: z.number(),
    repeat_penalty: z.number(),
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
  priority: z.number().int().optional(),
  max_bytes_per_second: z.number().int().optional(),
  override: z.array(z.enum(['unsafe_format', 'scan', 'fit'])).max(3).optional(),
});

const health = z.strictObject({ interval_seconds: z.number(), timeout_seconds: z.number(), failures: z.number().int(), generation_interval_seconds: z.number() }).partial();
const restart = z.strictObject({ policy: z.enum(['always', 'on_failure', 'never']), max_retries: z.number().int() }).partial();

export const deploymentConfig = z
  .strictObject({
    port: z.number().int(),
    gpu_devices: z.array(z.string().max(100)).max(64),
    gpu_layers: z.number().int(),
    context_size: z.number().int(),
    threads: z.number().int(),
    parallel: z.number().int().describe('Answers at once, 1 to 256.'),
    memory_limit_bytes: z.number().int(),
    cpu_limit: z.number(),
    keep_alive_seconds: z.number().int(),
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
