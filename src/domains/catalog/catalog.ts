import type { ModelCategory, ModelDetail, ModelFile, ModelVariant, SearchRequest, SearchResult, SourceInfo } from './types.ts';

/** Use cases of the catalogue; `CatalogService` implements it. */
export type Catalog = {
  /**
   * Asks the sources side by side, each for 3 s at most; one that fails or is slow is named in `sources` and the
   * others' results come all the same. Throws only VALIDATION_FAILED.
   */
  search(request: SearchRequest, signal: AbortSignal): Promise<SearchResult>;
  /** Throws MODEL_NOT_FOUND, MODEL_GATED, SOURCE_UNAVAILABLE, RATE_LIMITED, TIMEOUT, VALIDATION_FAILED. */
  get(modelId: string, signal: AbortSignal): Promise<ModelDetail>;
  /** Past the cache. */
  refresh(modelId: string, signal: AbortSignal): Promise<ModelDetail>;
  categories(signal: AbortSignal): Promise<readonly ModelCategory[]>;
  sources(): readonly SourceInfo[];
  /** The ways to take a model that consists of these files, as far as their names tell. */
  variantsOf(files: readonly ModelFile[]): readonly Omit<ModelVariant, 'fit' | 'recommended'>[];
};
