/** The numbers that choose an answer's words, each with OpenAI's name for it; one list for all who pass them on. */
const openAiNames = {
  temperature: 'temperature',
  topP: 'top_p',
  topK: 'top_k',
  seed: 'seed',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  repeatPenalty: 'repeat_penalty',
} as const;

type Names = typeof openAiNames;
export type SamplingName = keyof Names;
export type OpenAiSamplingName = Names[SamplingName];

// The literal's own keys.
const pairs = Object.entries(openAiNames) as readonly [SamplingName, OpenAiSamplingName][];
export const samplingNames: readonly (readonly [SamplingName, OpenAiSamplingName])[] = pairs;

/** What is given of them, in OpenAI's words. */
export function toOpenAiSampling<T>(given: Partial<Readonly<Record<SamplingName, T>>>): Partial<Record<OpenAiSamplingName, T>> {
  return Object.fromEntries(pairs.flatMap(([name, theirs]) => (given[name] === undefined ? [] : [[theirs, given[name]]])));
}

/** The same back; null stands for what is not given. */
export function fromOpenAiSampling<T>(given: Partial<Readonly<Record<OpenAiSamplingName, T>>>): Partial<Record<SamplingName, NonNullable<T>>> {
  return Object.fromEntries(pairs.flatMap(([name, theirs]) => (given[theirs] === undefined || given[theirs] === null ? [] : [[name, given[theirs]]])));
}

/** Those that are given, under the names they have. */
export function pickOpenAiSampling<T>(given: Partial<Readonly<Record<OpenAiSamplingName, T>>>): Partial<Record<OpenAiSamplingName, T>> {
  return Object.fromEntries(pairs.flatMap(([, theirs]) => (given[theirs] === undefined ? [] : [[theirs, given[theirs]]])));
}
