/**
 * Pipeline tags of the Hub that are work for language models, with names for people. The Hub knows many more
 * (robotics, tabular data...), which nothing here can run.
 */
export const hubCategories: readonly { id: string; name: string }[] = [
  { id: 'text-generation', name: 'Text generation' },
  { id: 'image-text-to-text', name: 'Vision and text' },
  { id: 'any-to-any', name: 'Any to any' },
  { id: 'audio-text-to-text', name: 'Audio and text' },
  { id: 'video-text-to-text', name: 'Video and text' },
  { id: 'feature-extraction', name: 'Embeddings' },
  { id: 'sentence-similarity', name: 'Sentence similarity' },
  { id: 'text-ranking', name: 'Reranking' },
  { id: 'text-classification', name: 'Text classification' },
  { id: 'token-classification', name: 'Token classification' },
  { id: 'zero-shot-classification', name: 'Zero-shot classification' },
  { id: 'question-answering', name: 'Question answering' },
  { id: 'visual-question-answering', name: 'Questions about images' },
  { id: 'document-question-answering', name: 'Questions about documents' },
  { id: 'summarization', name: 'Summaries' },
  { id: 'translation', name: 'Translation' },
  { id: 'fill-mask', name: 'Fill in the blank' },
  { id: 'image-to-text', name: 'Image to text' },
  { id: 'automatic-speech-recognition', name: 'Speech to text' },
  { id: 'text-to-speech', name: 'Text to speech' },
  { id: 'text-to-image', name: 'Text to image' },
];
