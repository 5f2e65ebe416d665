import type { ChatHistoryItem, ChatWrapper, JinjaTemplateChatWrapper, LlamaModel } from 'node-llama-cpp';
import type * as NodeLlamaCpp from 'node-llama-cpp';

type ContextOptions = Parameters<ChatWrapper['generateContextState']>[0];
type Source = { library: typeof NodeLlamaCpp; model: LlamaModel };

/** With and without a system message, because some templates put one of their own where there is none. */
const samples: readonly ChatHistoryItem[][] = [
  [{ type: 'user', text: 'Hi' }, { type: 'model', response: [] }],
  [{ type: 'system', text: 'Be brief.' }, { type: 'user', text: 'Hi' }, { type: 'model', response: [] }],
  [{ type: 'user', text: 'Hi' }, { type: 'model', response: ['Hello'] }, { type: 'user', text: 'Go on' }, { type: 'model', response: [] }],
];

/**
 * What turns a conversation into a prompt, token for token as llama-server does. The library has one of its own for the
 * common templates and takes that where both agree in its own samples; these all begin with a system message, and a
 * first token too many does not count. So it is compared again, and the model's own template wins.
 */
export function chooseChatWrapper({ library, model }: Source): ChatWrapper {
  const usual = library.resolveChatWrapper(model);
  const template = model.fileInfo.metadata.tokenizer.chat_template;
  if (template === undefined || template.trim() === '') return usual;
  const exact = ownTemplate({ library, model }, template);
  if (exact === null) return usual;
  return !(usual instanceof library.JinjaTemplateChatWrapper) && samples.every((sample) => isAlike(model, [exact, usual], sample)) ? usual : exact;
}

/** Null where the template cannot be rendered. */
function ownTemplate({ library, model }: Source, template: string): ChatWrapper | null {
  const { JinjaTemplateChatWrapper: Base, LlamaText, SpecialToken } = library;
  class OwnTemplateChatWrapper extends Base {
    override generateContextState(options: ContextOptions): ReturnType<JinjaTemplateChatWrapper['generateContextState']> {
      const state = super.generateContextState(options);
      const isThere = state.contextText.tokenize(model.tokenizer)[0] === model.tokens.bos;
      // Added where the model asks for it and its template has left it to the tokenizer.
      if (model.tokens.shouldPrependBosToken && !isThere) state.contextText = LlamaText([new SpecialToken('BOS'), state.contextText]);
      return state;
    }
  }
  try {
    return new OwnTemplateChatWrapper({ template, tokenizer: model.tokenizer });
  } catch {
    return null;
  }
}

function isAlike(model: LlamaModel, wrappers: readonly ChatWrapper[], chatHistory: ChatHistoryItem[]): boolean {
  const [first, second] = wrappers.map((wrapper) => wrapper.generateContextState({ chatHistory }).contextText.tokenize(model.tokenizer).join());
  return first === second;
}
