import { z } from 'zod';

/** Longest text that is taken from a field; longer ones are somebody's joke. */
const text = z.string().max(500).nullish().catch(null);
const count = z.number().nonnegative().nullish().catch(null);
const names = z.array(z.unknown()).nullish().catch(null);

const parameterCounts = z.object({ total: count }).nullish().catch(null);

/** A row of `/api/models` and the body of `/api/models/{id}`; whatever a field holds besides is treated as not told. */
export const hubModelSchema = z.object({
  id: z.string().min(1).max(200),
  sha: text,
  author: text,
  disabled: z.boolean().nullish().catch(null),
  gated: z.union([z.boolean(), z.string().max(50)]).nullish().catch(null),
  downloads: count,
  likes: count,
  pipeline_tag: text,
  library_name: text,
  lastModified: text,
  createdAt: text,
  tags: names,
  siblings: names,
  safetensors: parameterCounts,
  gguf: z.object({ total: count, architecture: text, context_length: count }).nullish().catch(null),
  config: z.object({ model_type: text, architectures: names }).nullish().catch(null),
  cardData: z.object({ license: z.unknown(), license_name: text }).nullish().catch(null),
  securityRepoStatus: z.object({ scansDone: z.boolean().nullish().catch(null), filesWithIssues: names }).nullish().catch(null),
});

export type HubModel = z.infer<typeof hubModelSchema>;

export const hubIssueSchema = z.object({ path: z.string().max(1024), level: z.string().max(50) });

export const hubTreeEntrySchema = z.object({
  type: z.enum(['file', 'directory']),
  path: z.string(),
  size: z.number().int().nonnegative(),
  oid: text,
  lfs: z.object({ oid: text, size: z.number().int().nonnegative() }).nullish(),
  securityFileStatus: z.object({ status: text }).nullish().catch(null),
});

export type HubTreeEntry = z.infer<typeof hubTreeEntrySchema>;

/** Of a repository's `config.json` only what the catalogue shows. */
export const hubConfigFileSchema = z.object({
  max_position_embeddings: count,
  model_type: text,
  text_config: z.object({ max_position_embeddings: count }).nullish().catch(null),
});
