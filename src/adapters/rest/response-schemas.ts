/** What REST callers get; the OpenAPI document is made from these, and the tests hold every answer against them. */
import * as z from 'zod';
import { modelFormats } from '../../domains/catalog/types.ts';
import { messageStatuses } from '../../domains/chat/types.ts';
import { deploymentStatuses, desiredStatuses } from '../../domains/deployments/deployment.machine.ts';
import { downloadStatuses } from '../../domains/downloads/download.machine.ts';
import { downloadFileStatuses, overrideRules } from '../../domains/downloads/types.ts';
import { errorCodes } from '../../shared/errors.ts';

const time = z.iso.datetime();
const bytes = z.number().int().min(0);
const failure = z.object({ code: z.enum(errorCodes), message: z.string() });
const storedError = failure.nullable();

export const errorBody = z
  .object({
    error: z.object({ code: z.enum(errorCodes), message: z.string(), details: z.record(z.string(), z.unknown()).optional() }),
  })
  .meta({ id: 'Error' });

export function listOf<T extends z.ZodType>(item: T): z.ZodObject<{ items: z.ZodArray<T>; next_cursor: z.ZodNullable<z.ZodString>; total: z.ZodNullable<z.ZodNumber> }> {
  return z.object({ items: z.array(item), next_cursor: z.string().nullable(), total: z.number().int().nullable() });
}

export const model = z
  .object({
    id: z.string(),
    source: z.string(),
    name: z.string(),
    author: z.string().nullable(),
    display_name: z.string(),
    description: z.string().nullable(),
    category: z.string().nullable(),
    tags: z.array(z.string()),
    license: z.string().nullable(),
    parameters: z.number().nullable(),
    size_bytes: bytes.nullable(),
    formats: z.array(z.enum(modelFormats)),
    quantizations: z.array(z.string()),
    context_length: z.number().nullable(),
    downloads: z.number().nullable(),
    likes: z.number().nullable(),
    gated: z.boolean().nullable(),
    created_at: z.string().nullable(),
    updated_at: z.string().nullable(),
    url: z.string().nullable(),
    installed: z.boolean(),
  })
  .meta({ id: 'Model' });

const fit = z.object({
  verdict: z.enum(['fits', 'tight', 'does_not_fit', 'unknown']),
  context_size: z.number().int(),
  weights_bytes: bytes,
  kv_cache_bytes: bytes.nullable(),
  overhead_bytes: bytes,
  needed_bytes: bytes,
  available_bytes: bytes,
  max_context_size: z.number().int().nullable(),
  reason: z.string(),
});

export const modelDetail = model
  .extend({
    description_text: z.string().nullable().describe('The model card as plain text.'),
    description_markdown: z.string().nullable().describe('The model card as Markdown.'),
    revision: z.string().nullable(),
    architecture: z.string().nullable(),
    security_status: z.string().nullable(),
    files: z.array(
      z.object({
        path: z.string(),
        size_bytes: bytes,
        digest: z.string().nullable().describe('`sha256:` and the hexadecimal digits, where the source tells it.'),
        sha256: z.string().nullable().describe('The same digits alone.'),
        format: z.enum(modelFormats),
        security_status: z.string().nullable(),
      }),
    ),
    variants: z.array(
      z.object({
        name: z.string(),
        format: z.enum(modelFormats),
        quantization: z.string().nullable(),
        files: z.array(z.string()),
        size_bytes: bytes,
        recommended: z.boolean(),
        installed: z.boolean(),
        fit: fit.nullable(),
      }),
    ),
  })
  .meta({ id: 'ModelDetail' });

export const modelAnswer = z.object({ model: modelDetail });

export const searchResult = listOf(model).extend({
  sources: z.array(z.object({ source: z.string(), status: z.enum(['ok', 'stale', 'failed']), cached: z.boolean(), error: failure.optional() })),
});

export const categories = z.object({ items: z.array(z.object({ id: z.string(), name: z.string(), sources: z.array(z.string()) })) });

export const task = z
  .object({
    task_id: z.uuid(),
    model_id: z.string(),
    revision: z.string().nullable(),
    variant: z.string().nullable(),
    target: z.enum(['local', 'ollama']),
    status: z.enum(downloadStatuses),
    queue_position: z.number().int().nullable(),
    priority: z.number().int(),
    max_bytes_per_second: bytes.nullable(),
    override: z.array(z.enum(overrideRules)),
    total_bytes: bytes.nullable(),
    downloaded_bytes: bytes,
    progress: z.number().min(0).max(1),
    speed_bytes_per_second: z.number().min(0),
    eta_seconds: z.number().min(0).nullable(),
    attempt: z.number().int(),
    error: storedError,
    files: z.array(
      z.object({ path: z.string(), size_bytes: bytes, downloaded_bytes: bytes, status: z.enum(downloadFileStatuses), sha256: z.string().nullable() }),
    ),
    created_at: time,
    started_at: time.nullable(),
    finished_at: time.nullable(),
  })
  .meta({ id: 'DownloadTask' });

export const taskAnswer = z.object({ task });

export const deployment = z
  .object({
    deployment_id: z.uuid(),
    name: z.string(),
    model_id: z.string().nullable(),
    variant: z.string().nullable(),
    installed_model_id: z.string().nullable(),
    runtime: z.string(),
    status: z.enum(deploymentStatuses),
    desired_status: z.enum(desiredStatuses),
    config: z.record(z.string(), z.unknown()),
    endpoint: z.string().nullable(),
    health: z.object({ status: z.enum(['unknown', 'healthy', 'unhealthy']), checked_at: time.nullable(), consecutive_failures: z.number().int(), message: z.string().nullable() }),
    resources: z.object({ cpu_percent: z.number().nullable(), memory_bytes: bytes.nullable(), gpu_memory_bytes: bytes.nullable() }),
    restarts: z.number().int(),
    last_exit: z.object({ code: z.number().int().nullable(), signal: z.string().nullable(), at: time, reason: z.string().nullable() }).nullable(),
    error: storedError,
    created_at: time,
    started_at: time.nullable(),
  })
  .meta({ id: 'Deployment' });

export const deploymentAnswer = z.object({ deployment });

export const logLine = z
  .object({ time, stream: z.enum(['stdout', 'stderr', 'supervisor']), level: z.enum(['debug', 'info', 'warn', 'error']), message: z.string(), run: z.number().int() })
  .meta({ id: 'LogLine' });

const percent = z.number().min(0);

export const resources = z
  .object({
    cpu: z.object({ model: z.string(), cores: z.number().int(), percent, load_average: z.array(z.number()) }),
    memory: z.object({ total_bytes: bytes, available_bytes: bytes, used_bytes: bytes, swap_total_bytes: bytes, swap_used_bytes: bytes }),
    disks: z.array(z.object({ path: z.string(), purpose: z.string(), total_bytes: bytes, available_bytes: bytes, used_bytes: bytes, reserved_bytes: bytes })),
    gpus: z.array(z.object({ index: z.number().int(), uuid: z.string(), name: z.string(), memory_total_bytes: bytes.nullable(), memory_used_bytes: bytes.nullable() }).loose()),
    network: z.object({ received_bytes_per_second: z.number(), sent_bytes_per_second: z.number() }).nullable(),
    process: z.object({ pid: z.number().int(), uptime_seconds: z.number(), memory_bytes: bytes, cpu_percent: percent, open_files: z.number().int().nullable(), event_loop_delay_ms: z.number() }),
    deployments: z.array(z.object({ deployment_id: z.uuid(), name: z.string(), cpu_percent: percent.nullable(), memory_bytes: bytes.nullable(), gpu_memory_bytes: bytes.nullable() })),
    collected_at: time,
  })
  .meta({ id: 'SystemResources' });

export const session = z
  .object({
    session_id: z.uuid(),
    title: z.string(),
    system_prompt: z.string().nullable(),
    parameters: z.record(z.string(), z.unknown()),
    deployment_ids: z.array(z.string()),
    message_count: z.number().int(),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: 'ChatSession' });

const usage = z.object({
  prompt_tokens: z.number().int().nullable(),
  completion_tokens: z.number().int(),
  time_to_first_token_ms: z.number().nullable(),
  tokens_per_second: z.number().nullable(),
  messages_left_out: z.number().int().nullable(),
});
const finishReason = z.enum(['stop', 'length', 'stopped', 'error']);

export const message = z
  .object({
    message_id: z.uuid(),
    session_id: z.uuid(),
    parent_id: z.uuid().nullable(),
    role: z.enum(['system', 'user', 'assistant']),
    content: z.string(),
    deployment_id: z.uuid().nullable(),
    model_id: z.string().nullable(),
    status: z.enum(messageStatuses),
    parameters: z.record(z.string(), z.unknown()),
    usage: usage.nullable(),
    finish_reason: finishReason.nullable(),
    error: storedError,
    created_at: time,
    finished_at: time.nullable(),
  })
  .meta({ id: 'ChatMessage' });

/** What `/ws/chat/stream` and server-sent events send. */
export const chatStreamObject = z
  .object({
    type: z.enum(['start', 'token', 'end', 'error']),
    request_id: z.string().nullable().optional(),
    message_id: z.uuid().optional(),
    deployment_id: z.uuid().nullable().optional(),
    index: z.number().int().min(-1).optional().describe('Of the piece, counted from 0; otherwise of the last piece up to here, -1 = none.'),
    text: z.string().optional().describe('On `token` only.'),
    usage: usage.nullable().optional(),
    finish_reason: finishReason.nullable().optional(),
    error: failure.extend({ details: z.record(z.string(), z.unknown()).optional() }).optional().describe('On `error` only.'),
  })
  .meta({ id: 'ChatStreamObject' });

export const sessionAnswer = z.object({ session });
export const sentAnswer = z.object({ session_id: z.uuid(), messages: z.array(message) });
