/**
 * Far above any published model and low enough that a hostile header costs little. The largest known vocabularies
 * have about 260,000 tokens and their headers 15 MB.
 */
export const ggufLimits = {
  headerBytes: 50 * 1024 * 1024,
  stringBytes: 10 * 1024 * 1024,
  chatTemplateBytes: 1024 * 1024,
  keyBytes: 65_535,
  tensorNameBytes: 256,
  arrayItems: 1_000_000,
  metadataKeys: 100_000,
  tensors: 100_000,
  dimensions: 4,
} as const;
