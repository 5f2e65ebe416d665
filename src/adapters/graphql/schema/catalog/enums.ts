import type { FileSecurityStatus, FitVerdict as Verdict, ModelFormat as Format, ModelSort as Sort, SortOrder as Order, SourceInfo } from '../../../../domains/catalog/types.ts';
import { enumOf } from '../../enums.ts';

export const ModelFormat = enumOf<Format>('ModelFormat', 'How the weights are stored.', {
  gguf: 'One file for llama.cpp, Ollama and others.',
  safetensors: 'Plain tensors that cannot carry code.',
  pytorch: 'Pickled tensors, which may run code when they are loaded.',
  onnx: 'Open Neural Network Exchange.',
  mlx: "Apple's MLX.",
  other: 'Anything else.',
});

export const ModelSort = enumOf<Sort>('ModelSort', 'What a search is ordered by.', {
  relevance: "The source's own idea of what fits the query best.",
  downloads: 'How often it was downloaded.',
  likes: 'How many people like it.',
  updated: 'When it was last changed.',
  created: 'When it was first published.',
  trending: 'What many people look at now.',
  name: 'By name.',
  size: 'By size in bytes.',
});

export const SortOrder = enumOf<Order>('SortOrder', 'Which end comes first.', { asc: 'Smallest, oldest or first in the alphabet.', desc: 'Biggest, newest or last in the alphabet.' });

export const SecurityStatus = enumOf<FileSecurityStatus>('SecurityStatus', "A source's own verdict on a file: advice, not proof.", {
  safe: 'Scanned, nothing found.',
  caution: 'Something that may be harmless.',
  suspicious: 'Something that harmless files rarely have.',
  unsafe: 'Known to be harmful.',
  unscanned: 'Not scanned.',
  queued: 'Waiting for its scan.',
  error: 'The scan failed.',
});

export const FitVerdict = enumOf<Verdict>('FitVerdict', 'Whether a model fits into the memory of this machine.', {
  fits: 'It fits with room to spare.',
  tight: 'It fits, with little room.',
  does_not_fit: 'It does not fit.',
  unknown: 'It cannot be told yet.',
});

export const SourceStatus = enumOf<SourceInfo['status']>('SourceStatus', 'Whether a source answers.', {
  ok: 'It answered.',
  stale: 'It did not; what it said earlier was used.',
  failed: 'It did not answer, and nothing is known from before.',
  unknown: 'It has not been asked yet.',
});
