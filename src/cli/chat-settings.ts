import type { ChatParametersInput } from '../../schema/generated/graphql.ts';
import { samplingNames, type SamplingName } from '../shared/sampling.ts';
import { wrongUsage } from './failure.ts';
import { numberFlag, textFlag, type Flags } from './flags.ts';

type NumberName = SamplingName | 'maxTokens';

/** As people type them, in the words of the REST API; the service knows the ranges. */
const numbers: ReadonlyMap<string, NumberName> = new Map<string, NumberName>([...samplingNames.map(([name, theirs]) => [theirs, name] as const), ['max_tokens', 'maxTokens']]);

export const settingNames: readonly string[] = [...numbers.keys(), 'stop', 'system'];

/** What a conversation asks of the model beside the messages; everything that is not set is the model's own. */
export class ChatSettings {
  #parameters: ChatParametersInput;
  #system: string | null;

  constructor(flags: Flags = {}) {
    const given = { temperature: numberFlag(flags, 'temperature'), maxTokens: numberFlag(flags, 'maxTokens'), seed: numberFlag(flags, 'seed') };
    this.#parameters = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    this.#system = textFlag(flags, 'system') ?? null;
  }

  /** Null when nothing is set. */
  get parameters(): ChatParametersInput | null {
    return Object.keys(this.#parameters).length > 0 ? this.#parameters : null;
  }

  get system(): string | null {
    return this.#system;
  }

  /** Sets one by its name; `default` takes it back. Throws when there is no such setting or the value cannot be one. */
  set(name: string, value: string): void {
    if (name === 'system') this.#system = value === 'default' ? null : value;
    else if (name === 'stop') this.#change('stop', value === 'default' ? null : [unescape(value)]);
    else {
      const parameter = numbers.get(name);
      if (parameter === undefined) throw wrongUsage(`There is no setting ${name}; there are ${settingNames.join(', ')}.`);
      const number = Number(value);
      if (value !== 'default' && (value.trim() === '' || !Number.isFinite(number))) throw wrongUsage(`${name} must be a number, or "default", not ${value}.`);
      this.#change(parameter, value === 'default' ? null : number);
    }
  }

  /** Each setting with its value, in the words in which it is set. */
  list(): [name: string, value: string][] {
    const shown = (value: unknown): string => (value === undefined || value === null ? 'default' : JSON.stringify(value));
    return [...[...numbers].map(([name, parameter]): [string, string] => [name, shown(this.#parameters[parameter])]), ['stop', shown(this.#parameters.stop)], ['system', shown(this.#system)]];
  }

  #change(name: NumberName | 'stop', value: number | string[] | null): void {
    const { [name]: _, ...rest } = this.#parameters;
    this.#parameters = value === null ? rest : { ...rest, [name]: value };
  }
}

/** A stop text is often a line break, which cannot be typed in a line. */
function unescape(text: string): string {
  return text.replaceAll(String.raw`\n`, '\n').replaceAll(String.raw`\t`, '\t');
}
