/** The model of the tests; the program needs it too, to try an engine that was built. */
export { buildTinyGguf, chatMlTemplate, tinyScript, tinyStory, type TinyGgufOptions, type TinyMode } from '../../src/shared/gguf/tiny-model.ts';
